"""File names made of foreign text, for every file system: the catalogue's cases 141 to 147."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import ConfigurationError
from seedance_async.batch.names import Template
from seedance_async.filenames import MAX_STEM_BYTES, fold, safe

ANY_TEXT = st.text(st.characters(codec=None), min_size=1, max_size=400)
"""Any code points, lone surrogates included."""


@pytest.mark.parametrize(
    "name",
    ["shot", "Shot 12", "été", "雪山を渡る列車", "a.b.c", "take_2", "x" * 150, "~shot", "(final) v2"],
)
def test_a_plain_name_is_kept_as_it_is(name: str) -> None:
    """Nobody should have to guess what became of a harmless name."""
    assert name == safe(name)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        pytest.param("../../etc/passwd", "_", id="141-traversal"),
        pytest.param("/etc/x", "_etc", id="141-absolute"),
        pytest.param("C:\\x", "C__x", id="141-drive"),
        pytest.param("\\\\host\\share", "__host_share", id="141-unc"),
        pytest.param("a\x00b\nc\x1b[2J", "a_b c_[2J", id="142-control"),
        pytest.param("\u202egnp.exe", "_gnp.exe", id="142-bidi"),
        pytest.param("CON", "_CON", id="144-device"),
        pytest.param("nul.tar", "_nul.tar", id="144-device-with-suffix"),
        pytest.param("-rf", "rf", id="144-dash"),
        pytest.param("end. .", "end", id="144-trailing"),
        pytest.param(".hidden", "hidden", id="144-hidden"),
        pytest.param('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h", id="144-windows"),
    ],
)
def test_what_some_system_forbids_is_replaced_and_marked(name: str, start: str) -> None:
    """A changed name ends in a mark of its own, so that two changed names stay two."""
    changed = safe(name)

    assert changed.startswith(start)
    assert 7 == len(changed) - len(changed.rpartition("-")[0])


def test_names_that_look_alike_after_cleaning_stay_apart() -> None:
    """Otherwise one job would write over the other, or under its name."""
    assert 4 == len({safe(name) for name in ("a/b", "a\\b", "a:b", "a_b")})


@pytest.mark.case(141, 142, 143, 144, 145)
@given(ANY_TEXT)
def test_any_text_becomes_one_part_of_a_path_on_every_system(text: str) -> None:
    """141 to 145: one component, not hidden, not reserved, short, and settled."""
    name = safe(text)

    assert 0 < len(name.encode()) <= MAX_STEM_BYTES
    assert (name,) == PurePosixPath(name).parts == PureWindowsPath(name).parts
    assert not PureWindowsPath(name).is_reserved()
    assert name[0] not in " .-"
    assert name[-1] not in " ."
    assert name == safe(name) == unicodedata.normalize("NFC", name)
    assert not any(unicodedata.category(mark) in {"Cc", "Cf", "Cs"} for mark in name)


@pytest.mark.case(144)
@given(ANY_TEXT, ANY_TEXT)
def test_unlike_names_become_unlike_files(one: str, other: str) -> None:
    """Even where the file system is blind to case."""
    if fold(one) != fold(other):
        assert fold(safe(one)) != fold(safe(other))


@pytest.mark.case(143)
@given(ANY_TEXT)
def test_a_file_of_that_name_can_be_made_here(text: str) -> None:
    """143: 255 bytes with everything that is put behind the name."""
    name = f"{safe(text)}-last-frame-9999.jpeg.json.part"

    assert len(name.encode()) <= 255
    assert not (Path("/nonexistent") / name).exists()


@pytest.mark.case(145)
def test_one_letter_has_one_spelling() -> None:
    """145: é as one code point or as two is the same name."""
    assert safe("e\u0301te\u0301") == "été"
    assert fold("E\u0301TE\u0301") == fold("été")


VALUES = {"name": "a/b", "index": "000007", "model": "seedance2", "task_id": "sd2_x", "take": "1"}


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{name}.{ext}", "a_b-c14cdd"),
        ("{index}", "000007"),
        ("{model}/{index}-{task_id}.{ext}", "seedance2/000007-sd2_x"),
        ("out/{model}/{name} take {take}", "out/seedance2/a_b-c14cdd take 1"),
    ],
)
def test_a_template_places_files(template: str, path: str) -> None:
    """Its own slashes make folders; a value's never do."""
    assert PurePosixPath(path) == Template(template).render(**VALUES)


@pytest.mark.parametrize(
    "template",
    [
        "{nam}", "{name", "{name!r}", "{name:>9}", "{name.__class__}", "{0}", "../{name}", "/{name}",
        "{name}/", "a//{name}", "C:{name}", "{model}.{ext}", "{ext}/{name}", "", "{name}.", " {name}",
        "con/{name}", "./{name}",
    ],
)  # fmt: skip
def test_a_template_that_leads_astray_is_refused(template: str) -> None:
    """Before anything is sent, because the files come last."""
    with pytest.raises(ConfigurationError):
        Template(template)


@pytest.mark.case(141)
@given(st.fixed_dictionaries(dict.fromkeys(VALUES, ANY_TEXT)))
def test_no_value_leaves_the_directory(values: dict[str, str]) -> None:
    """141: the path stays under the output directory whatever a job or a server is called."""
    path = Template("{model}/{name}-{task_id}").render(**values)

    assert not path.is_absolute()
    assert 2 == len(path.parts)
    assert ".." not in path.parts
    assert all(len(part.encode()) <= MAX_STEM_BYTES for part in path.parts)
