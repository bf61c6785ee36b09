"""Plain language: names, texts and documents keep to `docs/glossary.md` and to the word lists below.

`python tests/test_language.py --list [check ...] [--in PATH]` prints every violation with its path and line.
"""

import ast
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from typing_extensions import override

ROOT: Final = Path(__file__).resolve().parents[1]
GLOSSARY: Final = ROOT / "docs/glossary.md"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PHRASES: Final = {
    r"told": "reports, says, lists",
    r"anew": "again",
    r"whom": "name the person or program",
    r"unheard": "ignored, not reported",
    r"heard of": "known, reported",
    r"goes by": "uses, follows",
    r"meanwhile": "concurrently, in between",
    r"somebody|nobody": "a user, a client, no client",
    r"lone": "single, unpaired",
    r"beside": "next to, in addition to",
    r"(?<!there\s)(?:is|are) no(?! longer| more)": "is not a, has no",
    r"stands? (?:in|at|for|below|above)": "is in, is at, represents",
    r"given up": "cancelled",
    r"says so|asked again|who asks|what is said|put aside": "plain words",
}
"""Phrases that are not used in any text, each with what to write instead."""

VAGUE_NAMES: Final = _words("""
    found told known wanted given asked made kept held shown place at one other here there near far who gone said
    what which way part rest some more most least good bad wrong odd plain whom anew apart aside beside it that this
    thing things
""")
"""Names that do not say what they hold."""
VAGUE_PARTS: Final = _words("told anew whom who asked wanted unheard beside")
"""Words that no name contains."""
API_MEMBERS: Final = _words("at what more")
"""Members of the API with a vague name, allowed as members of a schema."""
API_NAMES: Final = _words("FAULT same_place SAME_PLACE")
"""Members and values of the API that contain a word that the glossary does not use."""

SHARED_CLASS_NAMES: Final[frozenset[str]] = frozenset()
"""Public class names that more than one module of `app` defines; at most three."""

STANDARD_FUNCTIONS: Final = _words("""
    main serve migrate export report analyze backup restore demo healthcheck version lifespan upgrade downgrade
    decorator wrapper inner key default encode decode escape unescape quote unquote serialize deserialize dump dumps
    load loads parse compile normalize project unproject transform interpolate simplify digest sign verify hash area
    azimuth bearing bounds buffer centroid clip contains covers crosses difference direction distance envelope
    extent intersection intersects length line midpoint nearest node perimeter point polygon polygonize segments
    sector snap split touches union vertices visibility within unique argsort cumsum degrees radians
""")
"""Functions of a module, and functions inside functions, that may have one word.

The engine, `app/geo`, may also name a function by a word of the glossary, as Shapely does: `depth`, `crossings`.
"""
STANDARD_METHODS: Final = STANDARD_FUNCTIONS | _words("""
    acquire add append apply begin cancel clear close commit connect copy count delete discard drain execute extend
    fetch finish flush format get handle insert iterate items join keys kill listen lock match merge next open patch
    peek pop post process push put read readline receive refresh register release remove rename render replace reset
    rollback run save scope seek send set shutdown start stop stream submit subscribe tell terminate unlock update
    validate values visit wait write compute emit enter exit index sort str
""")
"""Methods that may have one word; a property may have any."""


class Violation(NamedTuple):
    """One text or name against the rules."""

    path: Path
    line: int
    message: str

    @override
    def __str__(self) -> str:
        """Return the violation as a compiler would print it."""
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.message}"


class Identifier(NamedTuple):
    """A name that a module defines."""

    path: Path
    line: int
    name: str
    kind: str
    """`module`, `class`, `function`, `method`, `property`, `fixture`, `parameter`, `variable` or `member`."""


class Term(NamedTuple):
    """One row of the glossary."""

    line: int
    word: str
    chinese: str
    banned: frozenset[str]


def source_files(*folders: str) -> list[Path]:
    """Return the Python files of folders, without this one, which quotes what it forbids."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in paths if path.name != Path(__file__).name]


@cache
def parse_file(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def find_phrases(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line (from 0) and the message of each phrase that is not used, also of one over two lines."""
    for pattern, better in _PATTERNS.items():
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start())
            context = text[max(0, match.start() - 50) : match.end() + 50]
            yield number, f"{' '.join(match.group().split())!r}: write {better} | {' '.join(context.split())}"


_PATTERNS: Final = {
    re.compile(rf"\b(?:{phrase})\b".replace(" ", r"\s+"), re.IGNORECASE): better for phrase, better in PHRASES.items()
}


def split_name(name: str) -> list[str]:
    """Return the words of a name in snake case or camel case, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


@cache
def collect_identifiers(path: Path) -> tuple[Identifier, ...]:
    """Return every name that a file defines, with the name of the file itself."""
    return (Identifier(path, 1, path.stem, "module"), *_walk_names(path, parse_file(path), "module"))


def _walk_names(path: Path, tree: ast.AST, parent: str) -> Iterator[Identifier]:
    for node in ast.iter_child_nodes(tree):
        inside = parent
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield Identifier(path, node.lineno, node.name, _classify_function(node, parent))
                inside = "function"
            case ast.ClassDef():
                yield Identifier(path, node.lineno, node.name, "class")
                inside = "class"
            case ast.arg():
                yield Identifier(path, node.lineno, node.arg, "parameter")
            case ast.Name(ctx=ast.Store()):
                yield Identifier(path, node.lineno, node.id, "member" if parent == "class" else "variable")
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)) | ast.MatchAs(name=str(name)):
                yield Identifier(path, node.lineno, name, "variable")
            case ast.Attribute(ctx=ast.Store(), value=ast.Name(id="self")):
                yield Identifier(path, node.lineno, node.attr, "variable")
            case _:
                pass
        yield from _walk_names(path, node, inside)


def _classify_function(node: ast.FunctionDef | ast.AsyncFunctionDef, parent: str) -> str:
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    if "fixture" in decorators:
        return "fixture"
    if re.search(r"property|computed_field|\.setter", decorators):
        return "property"
    return "method" if parent == "class" else "function"


def _is_test(identifier: Identifier) -> bool:
    return identifier.kind == "function" and identifier.name.startswith("test_")


def check_names() -> Iterator[Violation]:
    """Find names that do not say what they hold."""
    for path in source_files("app", "tests"):
        for identifier in collect_identifiers(path):
            bare = identifier.name.strip("_").lower()
            if bare in API_MEMBERS and identifier.kind == "member" and "schemas" in str(path):
                continue
            if _is_test(identifier):
                # The name of a test is a sentence.
                sentence = bare.replace("_", " ")
                for _, message in find_phrases(sentence):
                    yield Violation(path, identifier.line, f"test {message}")
            elif bare in VAGUE_NAMES:
                yield Violation(path, identifier.line, f"{identifier.kind} {identifier.name!r} does not say what it is")
            elif vague := VAGUE_PARTS.intersection(split_name(bare)):
                yield Violation(path, identifier.line, f"{identifier.kind} {identifier.name!r} contains {min(vague)!r}")


def check_function_names() -> Iterator[Violation]:
    """Find functions of `app` with one word that is not a standard one."""
    nouns = {term.word + end for term in read_glossary() for end in ("", "s")}
    for path in source_files("app"):
        engine_nouns = nouns if path.is_relative_to(ROOT / "app/geo") else set()
        for identifier in collect_identifiers(path):
            name = identifier.name
            if identifier.kind not in ("function", "method") or (name.startswith("__") and name.endswith("__")):
                continue
            allowed = STANDARD_METHODS if identifier.kind == "method" else STANDARD_FUNCTIONS
            if "_" not in name.strip("_") and name.strip("_") not in allowed | engine_nouns:
                yield Violation(path, identifier.line, f"{identifier.kind} {name!r}: write verb and noun")


def check_class_names() -> Iterator[Violation]:
    """Find public class names that more than one module of `app` defines."""
    definitions: defaultdict[str, list[Identifier]] = defaultdict(list)
    for path in source_files("app"):
        for identifier in collect_identifiers(path):
            if identifier.kind == "class" and not identifier.name.startswith("_"):
                definitions[identifier.name].append(identifier)
    for name, identifiers in sorted(definitions.items()):
        if len({identifier.path for identifier in identifiers}) > 1 and name not in SHARED_CLASS_NAMES:
            for identifier in identifiers:
                yield Violation(
                    identifier.path, identifier.line, f"class {name!r} is defined in {len(identifiers)} modules"
                )


def check_texts() -> Iterator[Violation]:
    """Find phrases in docstrings and comments, and in the strings of `app`."""
    for path in source_files("app", "tests"):
        is_app = path.is_relative_to(ROOT / "app")
        for line, text in (*_iter_comments(path), *_iter_strings(parse_file(path), docstrings_only=not is_app)):
            yield from (Violation(path, line + number, message) for number, message in find_phrases(text))


def _iter_comments(path: Path) -> Iterator[tuple[int, str]]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def _iter_strings(tree: ast.AST, *, docstrings_only: bool) -> Iterator[tuple[int, str]]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
                continue
            case ast.JoinedStr() if not docstrings_only:
                # The constant parts of an f-string are read as one sentence.
                yield (
                    node.lineno,
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
                )
                # Only the expressions in it are left: their strings are texts of their own.
                for part in node.values:
                    if isinstance(part, ast.FormattedValue):
                        yield from _iter_strings(part, docstrings_only=False)
                continue
            case ast.Constant(value=str(text)) if not docstrings_only and " " in text:
                yield node.lineno, text
            case _:
                pass
        yield from _iter_strings(node, docstrings_only=docstrings_only)


def check_documents() -> Iterator[Violation]:
    """Find phrases in the documents, without the glossary, which quotes what it forbids."""
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    paths = [ROOT / name for name in names if (ROOT / name).exists()]
    for path in (*paths, *sorted((ROOT / "docs").rglob("*.md"))):
        if path != GLOSSARY:
            yield from (
                Violation(path, line + 1, message) for line, message in find_phrases(path.read_text(encoding="utf-8"))
            )


def read_glossary() -> list[Term]:
    """Return the rows of the glossary; words in code type of the last column are not allowed in names."""
    terms = []
    for number, line in enumerate(GLOSSARY.read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 5 and cells[0] != "word":
            banned = frozenset(re.findall(r"`(\w+)`", cells[4]))
            terms.append(Term(number, cells[0], cells[1], banned))
    return terms


def check_glossary() -> Iterator[Violation]:
    """Find words that are twice in the glossary or have no Chinese term."""
    known: dict[str, int] = {}
    for term in read_glossary():
        if term.word in known:
            yield Violation(GLOSSARY, term.line, f"{term.word!r} is also on line {known[term.word]}")
        known[term.word] = term.line
        if not re.search("[\u4e00-\u9fff]", term.chinese):
            yield Violation(GLOSSARY, term.line, f"{term.word!r} has no Chinese term")
    for term in read_glossary():
        for word in term.banned & known.keys():
            yield Violation(
                GLOSSARY, term.line, f"{word!r} is not used for {term.word!r}, but is a word of line {known[word]}"
            )


def check_glossary_names() -> Iterator[Violation]:
    """Find names that contain a word that the glossary does not use."""
    better: dict[str, str] = {}
    for term in read_glossary():
        for word in term.banned:
            for form in (word, f"{word}s"):
                better[form] = f"{better[form]} or {term.word}" if form in better else term.word
    for path in source_files("app", "tests"):
        for identifier in collect_identifiers(path):
            if identifier.name.strip("_") in API_NAMES or _is_test(identifier):
                continue
            for word in sorted(better.keys() & set(split_name(identifier.name))):
                yield Violation(
                    path, identifier.line, f"{identifier.kind} {identifier.name!r}: for {word!r} write {better[word]!r}"
                )


CHECKS: Final[dict[str, Callable[[], Iterator[Violation]]]] = {
    "names": check_names,
    "function-names": check_function_names,
    "class-names": check_class_names,
    "texts": check_texts,
    "documents": check_documents,
    "glossary": check_glossary,
    "glossary-names": check_glossary_names,
}


# What is left from before the glossary, by check. A number may only go down: lower it with each change.
REMAINING: Final = {
    "names": 655,
    "function-names": 56,
    "class-names": 4,
    "texts": 28,
    "documents": 4,
    "glossary": 0,
    "glossary-names": 356,
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_language_is_plain(check: str) -> None:
    violations = [str(violation) for violation in CHECKS[check]()]
    assert len(violations) <= REMAINING[check], "\n".join(violations)


def test_few_class_names_are_shared() -> None:
    assert len(SHARED_CLASS_NAMES) <= 3


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The row is told to the sender.", 1),
        ("There is no ring. It is no longer open.", 0),
        ("This is no ring", 1),
        ("This is\nno ring", 1),
        ("stands_at and stand-alone", 0),
        ("It stands at the road, beside others.", 2),
    ],
)
def test_phrases_are_recognised(text: str, count: int) -> None:
    assert len(list(find_phrases(text))) == count


def test_names_are_split_into_words() -> None:
    assert split_name("_GeoJSONRow_told2") == ["geo", "json", "row", "told"]


def main(arguments: list[str]) -> int:
    """Print the violations of all checks, or of the named ones, and return how many there are."""
    prefix = arguments[arguments.index("--in") + 1] if "--in" in arguments else ""
    selected = [name for name in CHECKS if name in arguments] or list(CHECKS)
    total = 0
    for name in selected:
        violations = [str(violation) for violation in CHECKS[name]()]
        violations = [violation for violation in violations if violation.startswith(prefix)]
        print(*(f"{violation} [{name}]" for violation in violations), sep="\n", end="\n" if violations else "")  # noqa: T201
        print(f"{name}: {len(violations)}", file=sys.stderr)  # noqa: T201
        total += len(violations)
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
