"""`python app.py --selfcheck`: tells what is wrong and how to mend it, and finds nothing wrong where nothing is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from space import selfcheck as module
from space.page import serve
from space.selfcheck import check_packages, describe_processor, selfcheck

ROOT = Path(__file__).parents[2]


@pytest.fixture
def report() -> list[str]:
    return []


@pytest.fixture
def priors(gpt_folder: Path, pixelcnn_folder: Path) -> dict[str, Path]:
    return {"gpt": gpt_folder, "pixelcnn": pixelcnn_folder}


def test_where_all_is_well_it_measures_and_finds_nothing(artifact, priors, report):
    assert selfcheck(artifact, priors=priors, target="cpu", threads=1, report=report.append) == []
    text = "\n".join(report)
    assert "onnxruntime 1." in text and "CPUExecutionProvider" in text and "in order" in text
    assert len(re.findall(r"^weights: .*: (\d+) of \1 files", text, re.MULTILINE)) == 3
    assert re.search(r"render 256x256: \d+ ms", text) and re.search(r"render 512x512: \d+ ms", text)
    assert re.search(r"gpt: \d+ tokens a second", text) and re.search(r"pixelcnn: \d+ tokens a second", text)


def test_every_damaged_file_is_named_and_nothing_is_measured(artifact, priors, report, tmp_path):
    tokenizer = shutil.copytree(artifact, tmp_path / "tokenizer")
    (tokenizer / "rendernet.float.onnx").write_bytes(b"flipped")
    gpt = shutil.copytree(priors["gpt"], tmp_path / "gpt")
    (gpt / "shape.safetensors").unlink()
    wrong = selfcheck(tokenizer, priors={**priors, "gpt": gpt}, report=report.append)
    assert len(wrong) == 2
    assert "rendernet.float.onnx" in wrong[0] and "copy it again" in wrong[0] and "shape.safetensors" in wrong[1]
    text = "\n".join(report)
    assert "2 wrong:" in text and "render 256" not in text and f"1. {wrong[0]}" in text


def test_a_prior_of_another_tokenizer_is_wrong(artifact, priors, report):
    wrong = selfcheck(artifact, priors={"gpt": priors["gpt"]}, report=report.append)
    assert len(wrong) == 1 and "pixelcnn" in wrong[0] and "trained on the tokenizer" in wrong[0]


def test_a_package_that_is_missing_or_of_another_version_is_wrong(monkeypatch, report):
    def version(name: str) -> str:
        if name in ("tqdm", "openvino"):
            raise module.PackageNotFoundError(name)
        return {"gradio": "3.1"}.get(name, found(name))

    found = module.version
    monkeypatch.setattr(module, "version", version)
    wrong = list(check_packages(report.append))
    assert len(wrong) == 2 and all("pip install -r requirements.txt" in each for each in wrong)
    assert wrong[0].startswith("gradio 3.1 is not gradio") and wrong[1].startswith("tqdm is not installed")


FLAGS = {
    "avx2 avx512_vnni amx_int8": ("AVX-512 VNNI yes", "AMX yes", "AVX-VNNI no"),
    "avx2 avx_vnni": ("AVX2 yes", "AVX-512 VNNI no", "AVX-VNNI yes"),
    "avx2": ("AVX-512 VNNI no", "use float"),
}


@pytest.mark.parametrize("flags", FLAGS)
def test_features_of_the_processor_are_told(tmp_path, flags):
    (tmp_path / "cpuinfo").write_text(
        f"processor\t: 0\nmodel name\t: A Chip\nflags\t\t: fpu {flags}\n\n", encoding="utf-8"
    )
    said = describe_processor(tmp_path / "cpuinfo")
    assert said.startswith("processor: A Chip, ") and all(words in said for words in FLAGS[flags])


def test_where_the_features_are_not_told_it_says_so(tmp_path):
    assert "not listed here" in describe_processor(tmp_path / "nothing")


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "app.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_exit_code_says_whether_all_is_well(artifact, priors, tmp_path):
    good = ["--tokenizer", artifact, "--prior", priors["gpt"], "--prior", priors["pixelcnn"], "--threads", 1]
    done = run("--selfcheck", *good)
    assert (done.returncode, done.stderr) == (0, "") and "in order" in done.stdout
    done = run("--selfcheck", "--tokenizer", tmp_path)
    assert done.returncode == 2 and "1 wrong:" in done.stdout and "config.json" in done.stdout


# Flags ----------------------------------------------------------------------------------------------------------------


def test_mcp_without_its_extra_is_one_clear_line():
    code = "import sys, app; sys.modules['mcp'] = None; app.run(lambda: app.main(['--port', '0', '--mcp']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r'error: --mcp .*pip install "gradio\[mcp\]"\n', done.stderr)


@pytest.mark.parametrize(("flag", "asked"), [(True, True), (False, None)])
def test_mcp_is_asked_of_gradio(flag, asked, capsys, monkeypatch):
    given = {}
    monkeypatch.setattr("space.page.end", lambda page, uploads: None)
    monkeypatch.setattr("signal.signal", lambda *given: None)

    class Page:
        def launch(self, **settings: object) -> tuple:
            given.update(settings)
            return None, "http://127.0.0.1:1", None

        def block_thread(self) -> None:
            pass

    serve(Page(), host="127.0.0.1", port=1, share=False, mcp=flag)
    assert given["mcp_server"] is asked and "http://127.0.0.1:1" in capsys.readouterr().out


def test_help_names_every_flag_and_shows_examples():
    done = run("--help")
    assert done.returncode == 0 and "python app.py --selfcheck" in done.stdout
    for flag in (
        "--host",
        "--port",
        "--share",
        "--mcp",
        "--tokenizer",
        "--prior",
        "--threads",
        "--device",
        "--selfcheck",
    ):
        assert f"  {flag}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 130
