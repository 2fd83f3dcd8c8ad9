"""The documents' numbers and pictures: made by the commands beside them, of the weights that are shipped."""

import datetime
import re
import shlex
from pathlib import Path

import pytest

from space.docs import update_docs as renew

DOCUMENTS = [renew.ROOT / name for name in renew.DOCUMENTS]
BLOCKS = [pytest.param(block, id=block.command) for path in DOCUMENTS for block in renew.blocks(path)]
EXAMPLES = renew.ROOT / "space" / "examples"
PAGE = """# Numbers

<!-- made by: python -m prior classes -->
```
stale
```
<!-- end -->
Between.
<!-- made by: python -c "print('| ' + __import__('sys').argv[1][-6:] + ' |')" PHOTOS -->
| stale |

(stale)
<!-- end: 1999-12-31 -->
<!-- made by: python -c "print('saved')" -->
![A picture](a.png)
<!-- end -->
The end.
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


def renewed(page: Path, *flags: str) -> str:
    photos = ["--images", str(EXAMPLES / "coffee.jpg"), "--flowers", str(EXAMPLES)]
    renew.main([*photos, "--documents", str(page), *flags])
    return page.read_text()


def test_every_part_is_filled_with_what_its_command_prints(page: Path):
    text = renewed(page)
    listed, row, picture = renew.blocks(page)
    assert listed.body.startswith("```\nalpine sea holly\n") or "\nsunflower\n" in listed.body.lower()
    assert f"```\n\n(`python -m prior classes`, {datetime.date.today()})\n" in text
    assert row.body.startswith("| ee.jpg |\n\n(`")
    assert "stale" not in text and text.startswith("# Numbers\n") and text.endswith("The end.\n")
    assert picture.body == "![A picture](a.png)\n"
    assert {block.stamp for block in (listed, row, picture)} == {renew.stamp("")}


def test_filling_twice_is_filling_once(page: Path):
    assert renewed(page) == renewed(page)


def test_only_some_can_be_renewed(page: Path):
    text = renewed(page, "--only", "classes")
    assert "(stale)" in text and "\nstale\n" not in text
    with pytest.raises(ValueError, match="no command contains 'nonsense'; there are: python -m prior classes; "):
        renewed(page, "--only", "nonsense")


def test_what_fails_says_why_and_leaves_its_part_as_it_was(page: Path):
    page.write_text(PAGE.replace("print('saved')", "raise SystemExit('no disk')"))
    with pytest.raises(ValueError, match=r"failed \(no disk\); what came before it is renewed"):
        renewed(page)
    assert "stale" not in page.read_text().split("Between.")[0]
    assert "![A picture](a.png)\n<!-- end -->" in page.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("python -m prior classes", "rm -r /"), "'rm -r /' is not a command of this project"),
        (("<!-- end -->\nThe end.", ""), "without its '<!-- end -->'"),
    ],
)
def test_a_document_that_is_not_understood_is_refused(page: Path, change: tuple[str, str], said: str):
    page.write_text(PAGE.replace(*change))
    with pytest.raises(ValueError, match=said):
        renewed(page)


def test_photos_that_are_not_there_are_said_before_any_work(page: Path):
    with pytest.raises(ValueError, match="'nowhere' does not exist"):
        renew.main(["--images", "nowhere", "--flowers", str(EXAMPLES), "--documents", str(page)])
    assert page.read_text() == PAGE


def test_a_command_of_the_tokenizer_does_not_depend_on_the_priors():
    assert re.fullmatch(r"tokenizer \w{8}", renew.weights("python -m cst evaluate --images PHOTOS"))
    found = renew.weights("python -m prior classes")
    assert re.fullmatch(r"tokenizer \w{8}, gpt \w{8}, pixelcnn \w{8}", found)


@pytest.mark.parametrize("block", BLOCKS)
def test_what_the_documents_say_is_of_the_shipped_weights(block: renew.Block):
    """If this fails: the weights were changed, so run python -m space update-docs."""
    date, _, weights = block.stamp.partition(", ")
    assert datetime.date.fromisoformat(date) > datetime.date(2026, 11, 1)
    assert weights == renew.weights(block.command)
    assert block.is_picture or f"(`{block.command}`, {date})" in block.body
    words = shlex.split(block.command)
    module = Path(*words[2].split(".")) if words[1] == "-m" else Path(words[1]).with_suffix("")
    assert any((renew.ROOT / name).is_file() for name in (f"{module}.py", module / "__main__.py"))


def test_no_table_of_the_readme_was_written_by_hand():
    outside = renew.BLOCK.sub("", (renew.ROOT / "README.md").read_text())
    assert [line for line in outside.splitlines() if re.match(r"\|.*\d\.\d", line)] == []
