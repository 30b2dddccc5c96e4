"""A page's boxes are found with what they show, and what is not shown is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.guided import ALONE, DOCS, FIRST, OTHERS, boxes, follow, missed

PAGE = """# A page

```sh
x=1
echo "one $x"
```

```text
one …
```

```yaml
a: b
```

1. A list:

   ```sh
   echo two $x
   ```
"""


def test_boxes_are_found_with_their_lines_and_what_they_show() -> None:
    first, second = boxes(PAGE)
    assert (first.line, first.shows) == (3, ("one …",))
    assert (second.line, second.script, second.shows) == (18, "echo two $x\n", ())


def test_lines_are_looked_for_in_order_with_room_between() -> None:
    assert missed(("a … c", "d"), "x\na  b   c\nd") is None
    assert missed(("d", "a"), "a\nd") == "a"
    assert missed(("a. c",), "ab c") == "a. c"


def test_boxes_share_one_shell_and_a_failure_is_told_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    (tmp_path / "good").mkdir()
    follow(page, tmp_path / "good", {})
    page.write_text(PAGE.replace("echo two $x", "test $x = 2\n   echo two"))
    (tmp_path / "bad").mkdir()
    with pytest.raises(AssertionError, match=r"page.md, line 18 failed"):
        follow(page, tmp_path / "bad", {})
    page.write_text(PAGE.replace("one …", "three"))
    (tmp_path / "other").mkdir()
    with pytest.raises(AssertionError, match=r"line 3 does not show 'three'"):
        follow(page, tmp_path / "other", {})


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_are_in_boxes_and_every_page_that_has_some_is_followed(page: Path) -> None:
    text = page.read_text()
    assert bool(boxes(text)) == (page.parent == DOCS and page.stem in {*FIRST, *OTHERS, *ALONE})
    unfenced = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)
    assert set(re.findall(r"^ *```(\w*)$", text, re.M)) <= {"", "sh", "text", "yaml", "json", "python", "mermaid"}
    assert not re.findall(r"\n\n {4,}\S.*", unfenced), "an indented block: is it a command?"
