"""If-Match and If-None-Match (RFC 9110)."""

import pytest

from app.errors import PreconditionFailed
from app.records.payloads import Precondition, format_etag, is_unchanged


@pytest.mark.parametrize("header", ['"7"', ' "7" ', '"1", "7"', '"1","7","9"', "*", " * "])
def test_if_match_matches(header: str) -> None:
    Precondition(if_match=header).check_version(7)


@pytest.mark.parametrize("header", ["", "7", '"8"', 'W/"7"', '"1", W/"7"', '"07"', "7, 8", '""', '"*"'])
def test_if_match_does_not_match(header: str) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        Precondition(if_match=header).check_version(7)
    assert refused.value.current_version == 7


@pytest.mark.parametrize("header", ["*", '"1"', '"None"'])
def test_if_match_does_not_match_a_missing_record(header: str) -> None:
    with pytest.raises(PreconditionFailed, match="the record does not exist"):
        Precondition(if_match=header).check_version(None)


def test_if_none_match_star_is_create_only() -> None:
    create = Precondition(if_none_match=" * ")
    create.check_version(None)
    with pytest.raises(PreconditionFailed, match='exists with version "7"'):
        create.check_version(7)


def test_other_if_none_match_allows_every_write() -> None:
    Precondition(if_none_match='"7"').check_version(7)
    Precondition().check_version(None)


@pytest.mark.parametrize("header", ['"7"', 'W/"7"', '"1", "7"', "*"])
def test_a_read_is_unchanged_by_weak_comparison(header: str) -> None:
    assert is_unchanged(header, 7)


@pytest.mark.parametrize("header", [None, "", "7", '"8"', '"77"'])
def test_a_read_is_changed(header: str | None) -> None:
    assert not is_unchanged(header, 7)


def test_tags_are_strong() -> None:
    assert format_etag(7) == '"7"'
