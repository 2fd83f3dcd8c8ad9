"""Everything that `python -m space` does: hosting, and keeping the documents true."""

import sys
from collections.abc import Sequence

from cst.flags import Verb, dispatch, run

ABOUT = "The page: its host, its load, its pictures and numbers. (python app.py starts it.)"
VERBS = {
    "build": Verb("space.hosting.build", "put together what a host needs"),
    "publish": Verb("space.hosting.publish", "make or update a Hugging Face Space"),
    "measure": Verb("space.hosting.measure", "size, start time and memory of a built Space"),
    "load-test": Verb("space.hosting.load_test", "many visitors at once"),
    "screenshots": Verb("space.docs.screenshots", "pictures of every tab"),
    "update-docs": Verb("space.docs.update_docs", "run every command that made a number or picture of the documents"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    dispatch("space", ABOUT, VERBS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    run(main)
