"""What would reach the Hub: one commit that holds exactly the bundle, and never the token."""

from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from space.hosting import publish as publish_module
from space.hosting.build import BuiltFile
from space.hosting.publish import main

TOKEN = "hf_secretsecretsecretsecretsecretsecret"
FILES = {"app.py": "print()", "README.md": "---\n---\n", ".gitattributes": "*.onnx filter=lfs\n"}


class Hub:
    """Remembers what it was asked; fails at one method if told to."""

    def __init__(self):
        self.calls: list[tuple[str, dict]] = []
        self.there = [".gitattributes", "README.md", "old.py"]
        self.hardware: str | None = "cpu-basic"
        self.failure: tuple[str, Exception] | None = None
        self.uploaded: dict[str, str] = {}

    def method(self, name: str):
        def call(api: HfApi, **values):
            assert api.token == TOKEN
            self.calls.append((name, values))
            if self.failure is not None and self.failure[0] == name:
                raise self.failure[1]
            if name == "create_commit":
                adds = [each for each in values["operations"] if isinstance(each, CommitOperationAdd)]
                self.uploaded = {
                    each.path_in_repo: Path(each.path_or_fileobj).read_text(encoding="utf-8") for each in adds
                }
            return {
                "create_repo": f"https://huggingface.co/spaces/{values['repo_id']}",
                "list_repo_files": self.there,
                "get_space_runtime": SimpleNamespace(requested_hardware=self.hardware),
            }.get(name)

        return call


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hub that is not there, a token, and a bundle of three small files."""
    hub = Hub()
    for name in ("create_repo", "list_repo_files", "create_commit", "get_space_runtime", "request_space_hardware"):
        monkeypatch.setattr(HfApi, name, hub.method(name))
    monkeypatch.setattr(publish_module, "get_token", lambda: TOKEN)

    def build(out: Path, hardware: str) -> list[BuiltFile]:
        out.mkdir()
        for name, text in FILES.items():
            (out / name).write_text(text, encoding="utf-8")
        return [BuiltFile(name, len(text)) for name, text in FILES.items()]

    monkeypatch.setattr(publish_module, "build", build)
    return hub


def refused(status: int, message: str) -> HfHubHTTPError:
    request = httpx2.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError(message, response=httpx2.Response(status, request=request))


def test_one_commit_uploads_the_bundle_and_removes_the_rest(hub, capsys):
    main(["--repo", "me/cst"])
    (commit,) = (values for name, values in hub.calls if name == "create_commit")
    assert (commit["repo_id"], commit["repo_type"]) == ("me/cst", "space")
    assert hub.uploaded == FILES
    removed = [each.path_in_repo for each in commit["operations"] if isinstance(each, CommitOperationDelete)]
    assert removed == ["old.py"]
    said = capsys.readouterr()
    assert "https://huggingface.co/spaces/me/cst" in said.out and TOKEN not in said.out + said.err


def test_a_space_is_made_with_its_sdk_hardware_and_visibility(hub):
    main(["--repo", "me/cst", "--hardware", "zerogpu", "--private"])
    name, values = hub.calls[0]
    assert name == "create_repo" and values["exist_ok"] and values["repo_type"] == "space"
    assert (values["space_sdk"], values["space_hardware"], values["private"]) == ("gradio", "zero-a10g", True)
    assert ("request_space_hardware", {"repo_id": "me/cst", "hardware": "zero-a10g"}) in hub.calls


def test_hardware_that_a_space_has_is_not_asked_for_again(hub):
    main(["--repo", "me/cst"])
    assert hub.calls[0][1]["private"] is None
    assert "request_space_hardware" not in dict(hub.calls)


def test_a_dry_run_tells_the_plan_and_needs_neither_token_nor_hub(hub, monkeypatch, capsys):
    monkeypatch.setattr(publish_module, "get_token", lambda: pytest.fail("asked for the token"))
    main(["--repo", "me/cst", "--hardware", "zerogpu", "--dry-run"])
    said = capsys.readouterr().out
    assert all(name in said for name in FILES) and "zero-a10g" in said and "me/cst" in said and "dry run" in said
    assert f"{sum(map(len, FILES.values()))}  bytes in 3 files" in said
    assert hub.calls == []


def test_without_a_token_nothing_is_built(hub, monkeypatch):
    monkeypatch.setattr(publish_module, "get_token", lambda: None)
    monkeypatch.setattr(publish_module, "build", lambda *_: pytest.fail("built"))
    with pytest.raises(ValueError, match=r"no Hugging Face token; .*hf auth login"):
        main(["--repo", "me/cst"])


@pytest.mark.parametrize("name", ["cst", "me/cst/two", "me/c s t", "me/", "/cst", "me/cst.git", "../cst"])
def test_a_name_that_no_space_can_have_is_refused_at_once(hub, name):
    with pytest.raises(ValueError, match=r"accepted: OWNER/NAME"):
        main(["--repo", name])
    assert hub.calls == []


FAILURES = {
    "unreachable": (httpx2.ConnectError("Name or service not known"), "can't be reached"),
    "timeout": (httpx2.ReadTimeout(""), "can't be reached"),
    "offline": (ConnectionError("offline mode"), "can't be reached"),
    "bad token": (refused(401, f"Invalid credentials {TOKEN}\nmore"), "log in again"),
    "not paid": (refused(402, "Payment required"), "--hardware zerogpu"),
    "not mine": (refused(403, "Forbidden"), "may this token write to me"),
    "broken": (refused(500, "Internal error"), "status.huggingface.co"),
}


@pytest.mark.parametrize("step", ["create_repo", "list_repo_files", "create_commit", "get_space_runtime"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_without_the_token(hub, capsys, step, name):
    error, words = FAILURES[name]
    hub.failure = (step, error)
    with pytest.raises(ValueError, match=words) as caught:
        main(["--repo", "me/cst"])
    said = capsys.readouterr()
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value) + said.out + said.err
