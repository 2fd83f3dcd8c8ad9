"""Create or update the Space on the Hugging Face Hub, in one commit.

python -m space publish --repo OWNER/NAME --hardware cpu
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from space.hosting.build import HARDWARE, BuiltFile, build, listing

REQUIRED = ".gitattributes"  # the Hub needs one in every repository


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space publish", description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="the Space; created if it does not exist")
    parser.add_argument("--hardware", default="cpu", choices=HARDWARE, help="hardware (default cpu)")
    parser.add_argument("--private", action="store_true", help="visible only to its owner; only when it is created")
    parser.add_argument("--dry-run", action="store_true", help="only print the plan; needs no network and no token")
    flags = parser.parse_args(arguments)
    check_repo(flags.repo)
    token = None if flags.dry_run else find_token()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "space"
        files = build(folder, flags.hardware)
        print(plan(files, flags.repo, flags.hardware, private=flags.private))
        if flags.dry_run:
            print("Nothing was sent: this was a dry run.")
            return
        address = publish(
            HfApi(token=token), folder, files, repo=flags.repo, hardware=flags.hardware, private=flags.private
        )
    print(f"The Space is at {address}; the Hub builds it now.")


def check_repo(repo: str) -> None:
    """Raise ValueError unless it is a valid name of a Space."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no Space can be named '{repo}' ({reason}); accepted: OWNER/NAME") from None
    if repo.count("/") != 1:
        raise ValueError(f"'{repo}' does not name the owner of the Space; accepted: OWNER/NAME")


def find_token() -> str:
    """The Hub's token, from where its own tools store it. Raises ValueError if there is none."""
    token = get_token()
    if not token:
        raise ValueError("there is no Hugging Face token; log in with hf auth login, or set HF_TOKEN")
    return token


def plan(files: list[BuiltFile], repo: str, hardware: str, *, private: bool) -> str:
    """A description of the upload."""
    visibility = "private" if private else "public"
    return (
        f"{listing(files)}\nto the Space {repo} on {HARDWARE[hardware].flavor} (if new: {visibility}), in one commit; "
        "all other files of the Space are removed"
    )


def publish(api: HfApi, folder: Path, files: list[BuiltFile], *, repo: str, hardware: str, private: bool) -> str:
    """Create the Space if it does not exist, and upload exactly these files of `folder` -> its address.

    In one commit, so that the Hub never builds an incomplete state: `upload_folder` makes several if an upload is slow.
    Raises ValueError if the Hub can't be reached or refuses; no message contains the token.
    """
    flavor = HARDWARE[hardware].flavor

    def ask(function: Callable, **values: Any) -> Any:
        try:
            return function(repo_id=repo, **values)
        except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError: from the transport of large files
            raise ValueError(refusal(error, repo, api.token)) from None

    address = ask(
        api.create_repo, repo_type="space", space_sdk="gradio", space_hardware=flavor, private=private or None,
        exist_ok=True,
    )  # fmt: skip
    present = ask(api.list_repo_files, repo_type="space")
    names = {file.name for file in files}
    operations = [
        *(CommitOperationDelete(path_in_repo=name) for name in sorted(set(present) - names - {REQUIRED})),
        *(CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=folder / file.name) for file in files),
    ]
    ask(api.create_commit, repo_type="space", operations=operations, commit_message="Update the Space")
    if ask(api.get_space_runtime).requested_hardware != flavor:
        ask(api.request_space_hardware, hardware=flavor)
    return str(address)


def refusal(error: Exception, repo: str, token: str | bool | None) -> str:
    """The answer of the Hub or the network, in one line and without the token."""
    answer = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(token, str) and token:
        answer = answer.replace(token, "(token)")
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status is None:
        return f"the Hub can't be reached ({answer}); check the network and run this again"
    advice = {
        401: "is the token right? log in again with hf auth login",
        402: "a Gradio Space on CPU Basic needs a paid account; a free account can use --hardware zerogpu",
        403: f"may this token write to {repo.split('/')[0]}? and may the account have this hardware?",
    }.get(status, "see https://status.huggingface.co, and try again")
    return f"the Hub refused ({answer}); {advice}"
