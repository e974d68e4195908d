"""What a profile overrides in a list of models, and where what it says stands."""

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streamrec.dataflows.serving.pipelines import PROFILES, BadModelList

Place = tuple[str | int, ...]  # ("models", 1, "timeout_s")

_KEYS = ("prefix", "models", "experiments")


class Merged(NamedTuple):
    """A list of models in one profile, not yet checked."""

    content: dict[str, Any]
    origins: dict[Place, Place]  # of what the profile said: place in content to place in the file
    wrong: list[tuple[Place, str]]

    def origin(self, place: Place) -> Place:
        """Where in the file what stands at a place of the content was said."""
        for end in range(len(place), 0, -1):
            if (found := self.origins.get(place[:end])) is not None:
                return found + place[end:]
        return place


def profiles_of(content: Mapping[str, Any]) -> list[str]:
    """The profiles that a file has, and those that are always there."""
    own = content.get("profiles")
    return list(dict.fromkeys([*PROFILES, *(map(str, own) if isinstance(own, dict) else ())]))


def check_profile(profile: str, known: Iterable[str], source: str) -> None:
    """Raises BadModelList for a profile that is not there."""
    names = list(known)
    if profile not in names:
        raise BadModelList(
            f"STREAMREC_PROFILE expected a profile of {source}: {', '.join(names)}; "
            f"got {profile!r}{did_you_mean(profile, names)}"
        )


def in_profile(content: dict[str, Any], profile: str) -> Merged:
    """The list as it is in a profile: prefix, and keys of models and experiments by name."""
    merged = Merged(copy.deepcopy(content), {}, [])
    merged.content.pop("profiles", None)
    profiles = content.get("profiles")
    patch = profiles.get(profile, {}) if isinstance(profiles, dict) else {}
    place: Place = ("profiles", profile)
    if not isinstance(patch, dict):
        return merged  # the check of the file says so
    for key, value in patch.items():
        at = (*place, key)
        if key not in _KEYS:
            told = f"expected {', '.join(_KEYS)}, got {key!r}{did_you_mean(str(key), _KEYS)}"
            merged.wrong.append((place, told))
        elif key == "prefix":
            merged.content[key] = value
            merged.origins[(key,)] = at
        else:
            _by_name(merged, merged.content.get(key, []), (key,), value, at)
    return merged


def _by_name(merged: Merged, entries: Any, place: Place, patch: Any, at: Place) -> None:
    """Override keys of entries of a list by their names, in place."""
    if not isinstance(patch, dict):
        merged.wrong.append((at, f"expected a table for each name, got {patch!r}"))
        return
    if not isinstance(entries, list):
        return  # the check of the file says so
    names = [_name(each) for each in entries]
    for name, keys in patch.items():
        if name not in names:
            known = [str(each) for each in names if each is not None]
            told = (
                f"expected one of {', '.join(known)}" if known else "expected nothing to override"
            )
            merged.wrong.append((at, f"{told}, got {name!r}{did_you_mean(str(name), known)}"))
        elif not isinstance(keys, dict):
            merged.wrong.append(((*at, name), f"expected a table of keys, got {keys!r}"))
        else:
            index = names.index(name)
            _override(merged, entries[index], (*place, index), keys, (*at, name))


def _override(
    merged: Merged, entry: dict[str, Any], place: Place, keys: dict[str, Any], at: Place
) -> None:
    for key, value in keys.items():
        now = entry.get(key)
        if key == "variants" and isinstance(value, dict):
            _by_name(merged, now, (*place, key), value, (*at, key))
        elif isinstance(value, dict) and isinstance(now, dict):
            _override(merged, now, (*place, key), value, (*at, key))
        else:
            entry[key] = value
            merged.origins[(*place, key)] = (*at, key)


def _name(entry: Any) -> Any:
    """What a profile calls an entry: its name, else its model."""
    return entry.get("name", entry.get("model")) if isinstance(entry, dict) else None


def did_you_mean(got: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(got, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


__all__ = ["Merged", "Place", "check_profile", "did_you_mean", "in_profile", "profiles_of"]
