"""The documents' numbers and pictures: made by the commands beside them, of the weights that are shipped."""

import datetime
import re
from pathlib import Path

import pytest

from space.docs import update_docs as renew

BLOCKS = [(path.name, block) for path in renew.documents() for block in renew.blocks(path)]
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
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    return tmp_path / "page.md"


def renewed(page: Path, *flags: str) -> str:
    photos = ["--images", str(EXAMPLES / "coffee.jpg"), "--flowers", str(EXAMPLES)]
    renew.main([*photos, "--documents", str(page), *flags])
    return page.read_text(encoding="utf-8")


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
    page.write_text(PAGE.replace("print('saved')", "raise SystemExit('no disk')"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"failed \(no disk\); the blocks before it are updated"):
        renewed(page)
    assert "stale" not in page.read_text(encoding="utf-8").split("Between.")[0]
    assert "![A picture](a.png)\n<!-- end -->" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("python -m prior classes", "rm -r /"), "'rm -r /' is not a command of this project"),
        (("<!-- end -->\nThe end.", ""), "without its '<!-- end -->'"),
    ],
)
def test_a_document_that_is_not_understood_is_refused(page: Path, change: tuple[str, str], said: str):
    page.write_text(PAGE.replace(*change), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        renewed(page)


def test_photos_that_are_not_there_are_said_before_any_work(page: Path):
    with pytest.raises(ValueError, match="'nowhere' does not exist"):
        renew.main(["--images", "nowhere", "--flowers", str(EXAMPLES), "--documents", str(page)])
    assert page.read_text(encoding="utf-8") == PAGE


def test_a_command_of_the_tokenizer_does_not_depend_on_the_priors():
    assert re.fullmatch(r"tokenizer \w{8}", renew.weights("python -m cst evaluate --images PHOTOS"))
    found = renew.weights("python -m prior classes")
    assert re.fullmatch(r"tokenizer \w{8}, gpt \w{8}, pixelcnn \w{8}", found)


def test_the_numbers_of_the_documents_are_those_of_the_shipped_weights():
    """If this fails: the weights were changed, so run python -m space update-docs."""
    stale = [(name, block.command) for name, block in BLOCKS if not block.stamp.endswith(renew.weights(block.command))]
    assert stale == []


def test_a_table_names_its_command_and_its_day():
    missing = []
    for name, block in BLOCKS:
        date = block.stamp.partition(",")[0]
        if not block.is_picture and f"(`{block.command}`, {date})" not in block.body:
            missing.append((name, block.command))
    assert missing == []


@pytest.mark.parametrize("path", ["README.md", "docs/results.md"])
def test_no_table_of_measurements_was_written_by_hand(path: str):
    outside = renew.BLOCK.sub("", (renew.ROOT / path).read_text(encoding="utf-8"))
    assert [line for line in outside.splitlines() if re.match(r"\|.*\d\.\d", line)] == []
