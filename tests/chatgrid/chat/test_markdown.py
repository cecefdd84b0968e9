"""Text of a model becomes HTML that can do nothing but be read, whole or piece by piece."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgrid.chat.markdown import BlockStream, render, source_anchor

ATTRIBUTES = {
    ("a", "class"), ("a", "href"), ("a", "rel"), ("code", "class"), ("div", "class"), ("h3", "class"), ("h4", "class"),
    ("ol", "start"),
    ("span", "class"), ("td", "class"), ("th", "class"),
}  # fmt: skip
TAGS = set(
    "a blockquote br code div em h3 h4 hr li ol p pre s span strong table tbody td th thead tr ul".split()  # noqa: SIM905
)
ANSWER = """\
# Travel

Claim meals **within 30 days** [1], see also [2][3].

- first
- second [2]

  with a paragraph

1. one

2. two

| Meal | Limit |
|:-----|------:|
| Dinner | 40 [1] |

```python
def total(prices):
    return prices[1] + [1][0]
```

> quoted
continued lazily

***bold and slanted*** after a rule

---
Last words
"""
HOSTILE = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg/onload=alert(1)>',
    '<a href="javascript:alert(1)" id="config">x</a>',
    '<div style="background:url(https://evil.example/)">x</div>',
    '<form action="https://evil.example/"><input name=p></form>',
    '<meta http-equiv=refresh content="0;url=https://evil.example">',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](&#106;avascript:alert(1))',
    '[x](data:text/html;base64,AAAA)',
    '[x](http://evil.example)',
    '[x](//evil.example)',
    '[x](/c/1/delete)',
    '[x](https:evil.example)',
    '[x](https:///evil.example)',
    '[x](https://evil%2eexample)',
    '[x](smb://evil.example/share)',
    '![x](https://evil.example/p.png?d=1)',
    '![x][r]\n\n[r]: https://evil.example/p.png',
    '![x" onerror="alert(1)](a.png)',
    '```html\n</code></pre><script>alert(1)</script>\n```',
    '```"><script>alert(1)</script>\n1\n```',
    '`</code><img src=x onerror=alert(1)>`',
    '| a |\n|---|\n| <img src=x onerror=alert(1)> |',
    '<a class="citation" href="#source-1">1</a>',
    '[x](https://evil.example "https://bank.example is where this goes")',
    "![x](https://evil.example/p.png 'title')",
]  # fmt: skip


class Reader(HTMLParser):
    """Collects what of a page is more than words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def links(self) -> list[str]:
        return [str(attributes["href"]) for tag, attributes in self.elements if tag == "a"]


def assert_harmless(html: str) -> None:
    reader = Reader(html)
    assert {tag for tag, _ in reader.elements} <= TAGS
    assert {(tag, name) for tag, attributes in reader.elements for name in attributes} <= ATTRIBUTES
    assert all(link.startswith(("https://", "mailto:", "#source-")) for link in reader.links)


def streamed(pieces: list[str], citations: set[int] | None = None) -> str:
    stream = BlockStream(citations or set())
    blocks: dict[int, str] = {}
    for piece in pieces:
        blocks.update(stream.feed(piece))
    blocks.update(stream.finish())
    assert sorted(blocks) == list(range(len(blocks)))
    return "".join(blocks[number] for number in sorted(blocks))


def same(left: str, right: str) -> bool:
    return left.replace("\n", "") == right.replace("\n", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_it_renders_nothing_that_acts_or_loads(text: str) -> None:
    assert_harmless(render(text))
    assert "citation" not in [attributes.get("class") for _, attributes in Reader(render(text)).elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_it_renders_nothing_that_acts_or_loads_at_any_moment_of_a_stream(text: str) -> None:
    stream = BlockStream({1})
    for character in text:
        for _, html in stream.feed(character):
            assert_harmless(html)
    for _, html in stream.finish():
        assert_harmless(html)


@given(st.text(alphabet="<>[]()!`*_-#|:/\\&;\"' \n\tahttps.jvcripg1=", max_size=120))
def test_any_text_is_harmless_whole_and_in_pieces(text: str) -> None:
    assert_harmless(render(text, {1}))
    assert_harmless(streamed(list(text), {1}))


@pytest.mark.parametrize("text", ["[Open it]()", "[Open it](<>)", '[Open it]( "title")'])
def test_a_link_to_nowhere_is_its_text(text: str) -> None:
    reader = Reader(render(text))
    assert reader.links == []
    assert reader.words.strip() == text


def test_a_number_that_stands_for_a_letter_stays_a_number() -> None:
    """What the filter on answers has read is what a page shows: it cannot spell a key behind the filter's back."""
    spelled = "".join(
        f"&#{ord(letter)};" if at % 2 else f"&#x{ord(letter):X};" for at, letter in enumerate("sk-proj_9")
    )
    assert Reader(render(spelled)).words.strip() == spelled
    assert Reader(render("&auml; &#228; &#39; &amp; &#0; &#x110000; &#9999999;")).words.startswith("ä ä ' & ")


HALVES = "AbCdEfGh", "IjKlMnOp"
BETWEEN = ["[{}]()", "![![]()]()", "![`{}!`]()", "![[{}](https://a.example)]()", "&shy;", "&NoBreak;", "&zwnj;",
           "&#8203;", "&#x202E;", "&#xE0041;", "&ZeroWidthSpace;", "&#65039;", "&#13;", "&InvisibleTimes;", "&#769;",
           "&lowbar;", "&hyphen;", "&#8209;", "&dd;", "&fjlig;", "&fflig;", "&Escr;", "&#65313;"]  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("around", ["{}", "![{}](https://a.example/p.png)", "**{}**", "| a |\n|---|\n| {} |"])
def test_letters_that_were_written_apart_never_come_together_on_the_page(between: str, around: str) -> None:
    first, second = HALVES
    text = around.format(f"{first}{between.format('')}{second}")
    for html in (render(text), streamed(list(text))):
        words = Reader(html).words
        seen = "".join(letter for letter in words if unicodedata.category(letter)[0] not in "CM")
        assert first in seen, words
        assert second in seen, words
        assert not re.search(f"{first}[A-Za-z0-9_-]{{0,2}}{second}", unicodedata.normalize("NFKC", seen)), words


def test_raw_html_is_shown_as_it_was_written() -> None:
    assert Reader(render("a <b>bold</b> claim")).words.strip() == "a <b>bold</b> claim"


def test_a_picture_becomes_its_description() -> None:
    assert Reader(render("![Sales 2026](https://evil.example/p.png)")).words.strip() == "Sales 2026 (picture not shown)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Open payslip](https://x.example/login)", "Open payslip (x.example)"),
        ("[https://bank.example](https://x.example)", "https://bank.example (x.example)"),
        ("[x.example](https://x.example/a)", "x.example"),
        ("<https://x.example/a>", "https://x.example/a"),
        ("<https://bank.example@x.example/a>", "https://bank.example@x.example/a (x.example)"),
        ("[Write to us](mailto:hr@x.example)", "Write to us (hr@x.example)"),
        ("[bänk](https://bänk.example)", "bänk (xn--bnk-qla.example)"),
    ],
)
def test_a_link_says_where_it_goes_when_its_text_does_not(text: str, shown: str) -> None:
    reader = Reader(render(text))
    assert reader.words.strip() == shown
    assert [attributes["rel"] for tag, attributes in reader.elements if tag == "a"] == ["noopener noreferrer nofollow"]


def test_a_mail_link_carries_no_ready_made_message() -> None:
    assert Reader(render("[x](mailto:a@x.example?body=secret)")).links == ["mailto:a@x.example"]


def test_citations_that_exist_become_links_to_their_source() -> None:
    html = render("Meals [1], hotels [2][3], cars [1, 3], boats [4].", {1, 2, 3}, source_anchor("7f"))
    reader = Reader(html)
    assert reader.links == [f"#source-7f-{number}" for number in (1, 2, 3, 1, 3)]
    assert "boats [4]" in reader.words
    assert all(attributes["class"] == "citation" for tag, attributes in reader.elements if tag == "a")


def test_citations_in_code_are_left_alone() -> None:
    assert Reader(render("`a[1]`\n\n```python\nb[1]\n```\n\n    c[1]", {1})).links == []


def test_a_link_cannot_pose_as_a_citation() -> None:
    assert Reader(render("[1](https://evil.example)", {1})).links == ["#source-1"]
    assert "evil.example" in Reader(render("[1](https://evil.example)")).words


def test_a_citation_inside_a_links_text_is_no_second_link() -> None:
    assert len(Reader(render("[see [1]](https://x.example)", {1})).links) == 1


def test_code_has_colours_by_class() -> None:
    html = render("```py\nreturn 1\n```")
    assert '<code class="language-python">' in html
    assert '<span class="hl-k">return</span>' in html


def test_an_unknown_language_is_shown_without_a_class() -> None:
    assert render("```evil onclick\nx < y\n```").strip() == "<pre><code>x &lt; y\n</code></pre>"


def test_a_very_long_code_block_is_shown_without_colours() -> None:
    assert "hl-" not in render("```python\n" + "return 1\n" * 3000 + "```")


def test_headings_fit_below_the_headings_of_the_page_and_keep_their_looks() -> None:
    headings = re.findall(r"<h\d[^>]*>", render("# a\n\n### b\n\n###### c"))
    assert headings == ['<h3 class="level-1">', '<h3 class="level-3">', '<h4 class="level-6">']


def test_numbers_in_a_table_are_aligned_by_class() -> None:
    assert '<td class="align-right">' in render("| a |\n|--:|\n| 1 |")


@pytest.mark.parametrize("length", [1, 2, 3, 7, 40, 10_000])
def test_a_stream_ends_with_what_the_whole_text_gives(length: int) -> None:
    pieces = [ANSWER[start : start + length] for start in range(0, len(ANSWER), length)]
    assert same(streamed(pieces, {1, 2}), render(ANSWER, {1, 2}))


BLOCKS = ["- a", "* b", "1. c", "2. d", "para", "#", "# h", "***", "***x***", "```", "> q", "| a | b |", "|---|---|",
          "    i", "", "  more", "---", "===", "[1]: x", "~~~", "+ p", "2", "-"]  # fmt: skip


@given(st.lists(st.sampled_from(BLOCKS), max_size=12), st.integers(min_value=1, max_value=6))
def test_a_stream_ends_with_what_the_whole_text_gives_whatever_follows_whatever(lines: list[str], length: int) -> None:
    text = "\n".join(lines)
    assert same(streamed([text[start : start + length] for start in range(0, len(text), length)]), render(text))


def test_a_stream_gives_a_finished_block_once() -> None:
    stream = BlockStream()
    given: list[int] = []
    for piece in ("one\n\n", "two\n\n", "three\n\n", "four\n\n", "five\n\n"):
        given += [number for number, _ in stream.feed(piece)]
    given += [number for number, _ in stream.finish()]
    assert given == [0, 1, 2, 3, 4]


def test_a_stream_shows_the_unfinished_block_as_it_grows() -> None:
    stream = BlockStream()
    assert stream.feed("Hello **wor") == [(0, "<p>Hello **wor</p>\n")]
    assert stream.feed("ld**") == [(0, "<p>Hello <strong>world</strong></p>\n")]


def test_a_stream_takes_larger_steps_in_a_long_block() -> None:
    stream = BlockStream()
    stream.feed("word " * 1000)
    assert stream.feed("x") == []
    assert stream.feed("y" * 200) != []
    stream.feed("z")
    assert [html.count("z") for _, html in stream.finish()] == [1]
