"""Functions of text and of bytes."""

from __future__ import annotations

from sqlglot import exp

from mlplatform.plan.portable.kinds import WHOLE
from mlplatform.plan.portable.literals import constant, whole
from mlplatform.plan.portable.model import Arg, Call, Function, Refused, Says
from mlplatform.plan.portable.regex import to_java
from mlplatform.plan.portable.spark.build import both, case, fn, number, text, to_type
from mlplatform.plan.portable.spark.casts import cast
from mlplatform.plan.portable.spark.operators import as_text
from mlplatform.types import BINARY, INT, STRING, List


def _string(arg: Arg) -> exp.Expr:
    if arg.kind != STRING:
        raise Refused("a text function", f"of a {arg.kind}; cast it to string")
    return arg.tree


def _texts(name: str) -> Says:
    """A function of texts and whole numbers, alike in both."""

    def says(call: Call) -> exp.Expr:
        args = [cast(arg.tree, arg.kind, INT) if arg.kind in WHOLE else _string(arg) for arg in call.args]
        return to_type(fn(name, *args), call.kind) if call.kind != STRING else fn(name, *args)

    return says


def _concat(call: Call) -> exp.Expr:
    """Nulls are passed over; of nothing but nulls it is empty."""
    if isinstance(call.kind, List):
        nothing = to_type(fn("ARRAY"), call.kind)
        return fn("CONCAT", *(fn("COALESCE", cast(arg.tree, arg.kind, call.kind), nothing) for arg in call.args))
    if call.kind == BINARY:
        raise Refused(call.name, "of binary")
    return fn("CONCAT_WS", text(""), *(as_text(arg) for arg in call.args))


def _concat_ws(call: Call) -> exp.Expr:
    return fn("CONCAT_WS", _string(call.args[0]), *(as_text(arg) for arg in call.args[1:]))


def _trim(side: str) -> Says:
    def says(call: Call) -> exp.Expr:
        value = _string(call.args[0])
        if len(call.args) == 1:
            name = {"BOTH": "TRIM", "LEADING": "LTRIM", "TRAILING": "RTRIM"}[side]
            return fn(name, value)
        known = constant(call.args[1].node)
        if known is None:
            raise Refused(call.name, "of characters that are no constant")
        return exp.Trim(this=value, position=side, expression=call.args[1].tree) if known else value

    return says


def _substring(call: Call) -> exp.Expr:
    """From 1, from the end where negative; a start before the text, or a negative length, takes what lies within."""
    value, length = _string(call.args[0]), call.arg(2)
    known, known_length = whole(call.args[1].node), whole(length.node) if length is not None else None
    if known is not None and known >= 1 and (length is None or (known_length or -1) >= 0):
        return fn("SUBSTRING", value, *(arg.tree for arg in call.args[1:]))
    start = to_type(call.args[1].tree, INT)
    is_before = exp.LT(this=exp.Paren(this=start.copy()), expression=number(0))
    from_end = both(exp.Add, both(exp.Add, fn("CHAR_LENGTH", value), start), number(1))
    begin = from_end if known is not None and known < 0 else start
    begin = case((is_before, from_end), default=start) if known is None else begin
    if length is None:
        return fn("SUBSTRING", value, fn("GREATEST", begin, number(1)))
    end = both(exp.Add, begin, to_type(length.tree, INT))
    first = fn("GREATEST", fn("LEAST", begin, end), number(1))
    return fn("SUBSTRING", value, first, fn("GREATEST", both(exp.Sub, fn("GREATEST", begin, end), first), number(0)))


def _left(call: Call) -> exp.Expr:
    count = whole(call.args[1].node)
    if count is None or count < 0:
        raise Refused(call.name, "of a constant number of characters only")
    if call.name == "right":
        return fn("RIGHT", _string(call.args[0]), number(count))
    return fn("SUBSTRING", _string(call.args[0]), number(1), number(count))


def _split_part(call: Call) -> exp.Expr:
    """An empty text outside of the parts."""
    value, mark, place = call.args
    known = whole(place.node)
    if not constant(mark.node) or known is None or known == 0:
        raise Refused(call.name, "by a constant text that is not empty, at a constant place that is not 0")
    return fn("SPLIT_PART", _string(value), mark.tree, number(known))


def _split(call: Call) -> exp.Expr:
    if not constant(call.args[1].node):
        raise Refused(call.name, "by a constant text that is not empty")
    return fn("SPLIT", _string(call.args[0]), fn("CONCAT", text("\\Q"), call.args[1].tree, text("\\E")), number(-1))


def _padded(call: Call) -> exp.Expr:
    if len(call.args) != 3 or not constant(call.args[2].node) or (whole(call.args[1].node) or -1) < 0:
        raise Refused(call.name, "to a constant length by a constant text")
    return fn(call.name.upper(), _string(call.args[0]), call.args[1].tree, call.args[2].tree)


def _replaced(call: Call) -> exp.Expr:
    if not constant(call.args[1].node):
        raise Refused(call.name, "of a constant text that is not empty")
    return fn("REPLACE", *(_string(arg) for arg in call.args))


def _position(call: Call) -> exp.Expr:
    return to_type(fn("INSTR", _string(call.args[0]), _string(call.args[1])), call.kind)


def _has(name: str) -> Says:
    def says(call: Call) -> exp.Expr:
        if call.args[0].kind != STRING:
            from mlplatform.plan.portable.spark.nested import contains

            return contains(call)
        return fn(name, *(_string(arg) for arg in call.args))

    return says


# --- regular expressions ---------------------------------------------------------------------------------------------


def _regex(arg: Arg, what: str) -> exp.Expr:
    known = constant(arg.node)
    if known is None:
        raise Refused(what, "with a pattern that is no constant")
    return text(to_java(known))


def _options(call: Call, place: int) -> str:
    option = call.arg(place)
    known = constant(option.node) if option is not None else ""
    if known is None or not set(known) <= set("icgs"):
        raise Refused(call.name, "with options other than i, c, g, s")
    return known


def _flags(options: str) -> str:
    flags = ("iu" if "i" in options else "") + ("s" if "s" in options else "")
    return f"(?{flags})" if flags else ""


def _with_flags(pattern: exp.Expr, options: str) -> exp.Expr:
    return text(_flags(options) + str(pattern.this))


def _regexp_matches(call: Call) -> exp.Expr:
    pattern = _with_flags(_regex(call.args[1], call.name), _options(call, 2))
    return fn("REGEXP_LIKE", _string(call.args[0]), pattern)


def _regexp_full_match(call: Call) -> exp.Expr:
    pattern = _regex(call.args[1], call.name)
    return fn("REGEXP_LIKE", _string(call.args[0]), text(f"{_flags(_options(call, 2))}\\A(?:{pattern.this})\\z"))


def _regexp_replace(call: Call) -> exp.Expr:
    """The first match, or with `g` every one. RE2 writes a group as \\1, Java as $1."""
    options, known = _options(call, 3), constant(call.args[2].node)
    if known is None:
        raise Refused(call.name, "with a replacement that is no constant")
    pattern = _with_flags(_regex(call.args[1], call.name), options)
    value = _string(call.args[0])
    if "g" in options:
        return fn("REGEXP_REPLACE", value, pattern, text(_java_replacement(known)))
    first = text(f"\\A((?s:.*?))(?:{pattern.this})")  # all up to the leftmost match is its first group
    return fn("REGEXP_REPLACE", value, first, text("$1" + _java_replacement(known, shift=1, follows_group=True)))


def _java_replacement(known: str, *, shift: int = 0, follows_group: bool = False) -> str:
    made, place = "", 0
    while place < len(known):
        letter = known[place]
        if letter == "\\" and place + 1 < len(known):
            place += 1
            is_group = known[place].isdigit()
            made += f"${int(known[place]) + shift}" if is_group else "\\" + known[place]
            follows_group = is_group
        else:
            # A digit after a group would be read as a part of its number.
            made += f"\\{letter}" if letter == "$" or (follows_group and letter.isdigit()) else letter
            follows_group = False
        place += 1
    return made


def _regexp_extract(call: Call) -> exp.Expr:
    """The group of the first match; an empty text where there is none."""
    group = whole(call.args[2].node) if len(call.args) > 2 else 0
    if group is None:
        raise Refused(call.name, "of a group that is no constant")
    pattern = _with_flags(_regex(call.args[1], call.name), _options(call, 3))
    return fn("REGEXP_EXTRACT", _string(call.args[0]), pattern, number(group))


def _regexp_extract_all(call: Call) -> exp.Expr:
    group = whole(call.args[2].node) if len(call.args) > 2 else 0
    if group is None or len(call.args) > 3:
        raise Refused(call.name, "of a group that is no constant")
    return fn("REGEXP_EXTRACT_ALL", _string(call.args[0]), _regex(call.args[1], call.name), number(group))


# --- bytes and digests -----------------------------------------------------------------------------------------------


def _digest(name: str, *more: int) -> Says:
    def says(call: Call) -> exp.Expr:
        if call.args[0].kind not in (STRING, BINARY):
            raise Refused(call.name, f"of a {call.args[0].kind}")
        return fn(name, call.args[0].tree, *(number(each) for each in more))

    return says


def _hex(call: Call) -> exp.Expr:
    if call.args[0].kind not in (STRING, BINARY):
        raise Refused(call.name, f"of a {call.args[0].kind}")
    return fn("HEX", call.args[0].tree)


def _bytes_length(call: Call) -> exp.Expr:
    return to_type(fn("OCTET_LENGTH", call.args[0].tree), call.kind)


def _reversed(call: Call) -> exp.Expr:
    if isinstance(call.args[0].kind, List):
        return fn("REVERSE", call.args[0].tree)
    return fn("REVERSE", _string(call.args[0]))


def _code(call: Call) -> exp.Expr:
    value = _string(call.args[0])
    nothing = number(0 if call.name == "ascii" else -1)
    is_empty = exp.EQ(this=exp.Paren(this=value.copy()), expression=text(""))
    return to_type(case((is_empty, nothing), default=fn("ASCII", value)), call.kind)


FUNCTIONS: tuple[Function, ...] = (
    Function("lower", _texts("LOWER"), "strings", ("lcase",)),
    Function("upper", _texts("UPPER"), "strings", ("ucase",)),
    Function("concat", _concat, "strings", ("list_concat", "list_cat", "array_concat", "array_cat")),
    Function("concat_ws", _concat_ws, "strings"),
    Function("trim", _trim("BOTH"), "strings"),
    Function("ltrim", _trim("LEADING"), "strings"),
    Function("rtrim", _trim("TRAILING"), "strings"),
    Function("substring", _substring, "strings", ("substr",)),
    Function("left", _left, "strings", ("right",)),
    Function("split_part", _split_part, "strings"),
    Function("str_split", _split, "strings", ("string_split", "split", "string_to_array")),
    Function("lpad", _padded, "strings", ("rpad",)),
    Function("replace", _replaced, "strings"),
    Function("repeat", _texts("REPEAT"), "strings"),
    Function("reverse", _reversed, "strings", ("list_reverse", "array_reverse")),
    Function("strpos", _position, "strings", ("instr", "position")),
    Function("starts_with", _has("STARTSWITH"), "strings", ("prefix", "^@")),
    Function("ends_with", _has("ENDSWITH"), "strings", ("suffix",)),
    Function("contains", _has("CONTAINS"), "strings"),
    Function("strlen", _bytes_length, "strings", ("octet_length",)),
    Function("ascii", _code, "strings", ("unicode", "ord")),
    Function("translate", _texts("TRANSLATE"), "strings"),
    Function("levenshtein", None, note="counted in bytes, and in characters by others"),
    Function("regexp_matches", _regexp_matches, "strings"),
    Function("regexp_full_match", _regexp_full_match, "strings"),
    Function("regexp_replace", _regexp_replace, "strings"),
    Function("regexp_extract", _regexp_extract, "strings"),
    Function("regexp_extract_all", _regexp_extract_all, "strings"),
    Function("md5", _digest("MD5"), "strings"),
    Function("sha256", _digest("SHA2", 256), "strings"),
    Function("sha1", _digest("SHA1"), "strings"),
    Function("hex", _hex, "strings", ("to_hex",)),
    Function("unhex", lambda call: fn("UNHEX", _string(call.args[0])), "strings", ("from_hex",)),
    Function("to_base64", _digest("BASE64"), "strings", ("base64",)),
    Function("from_base64", lambda call: fn("UNBASE64", _string(call.args[0])), "strings"),
    Function("encode", lambda call: fn("ENCODE", _string(call.args[0]), text("UTF-8")), "strings"),
    Function("decode", lambda call: fn("DECODE", call.args[0].tree, text("UTF-8")), "strings"),
)
# Functions that transforms write and no spec may.
OWN: tuple[Function, ...] = (Function("error", lambda call: fn("RAISE_ERROR", _string(call.args[0]))),)
