"""Reads predictions.toml. Standard library only."""

import os
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))


def read(path=os.path.join(HERE, "predictions.toml")):
    with open(path, "rb") as file:
        return tomllib.load(file)


def _fits(entry, case):
    return all(entry[key] == case[key] for key in ("direction", "x_dtype", "op", "rounding") if key in entry)


def fraction(table, case):
    """Fraction of the copy's speed, from and to; None without a prediction. case: direction, x_dtype, op, rounding and
    n."""
    found = None
    for entry in table["fraction"]:
        if _fits(entry, case) and (of := next((of for of in entry["of"] if case["n"] <= of[0]), None)):
            found = of[1:]
    return found


def few_rows(table, case):
    """Microseconds, from and to; None without a prediction."""
    for entry in table["few_rows"]:
        if entry["direction"] == case["direction"] and entry["n"] == case["n"]:
            return entry["microseconds"]
    return None


def counters(table, case):
    """Percent by name."""
    entry = next((entry for entry in table["counter"] if entry["case"] == case), {})
    return {name: value for name, value in entry.items() if name != "case"}


def outcome(expected, value, digits=2):
    """Whether the value is below, within or above the prediction."""
    least, most = expected
    if round(value, digits) < least:
        return "below"
    return "above" if round(value, digits) > most else "as expected"
