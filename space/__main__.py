"""The commands of `python -m space`: hosting and documentation."""

import sys
from collections.abc import Sequence

from cst.flags import Verb, dispatch, run

ABOUT = "Host, test and document the page. (python app.py starts it.)"
VERBS = {
    "build": Verb("space.hosting.build", "assemble the deployment"),
    "publish": Verb("space.hosting.publish", "create or update a Hugging Face Space"),
    "measure": Verb("space.hosting.measure", "measure size, start time and memory of a built Space"),
    "load-test": Verb("space.hosting.load_test", "simulate many visitors at once"),
    "screenshots": Verb("space.docs.screenshots", "take pictures of every tab"),
    "update-docs": Verb("space.docs.update_docs", "rerun every command whose output is in the documents"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    dispatch("space", ABOUT, VERBS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    run(main)
