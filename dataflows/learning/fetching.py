"""Archives of published models, joined from their parts or read at their place, and checked."""

from pathlib import Path
from urllib.parse import urlsplit

from streamrec.connectors.log import Log, Place, SchemaRegistry
from streamrec.connectors.reading import read_range
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.learning.published import ModelRecords, PublishedVersion
from streamrec.models.learning.archives import BadArchive, BadDigest, digest_of
from streamrec.models.learning.unpacked import cached, unpack
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError

_ASK_S = 60.0


def archive_of(
    log: Log, registry: SchemaRegistry, topic: str, version: PublishedVersion, records: ModelRecords
) -> bytes:
    """The bytes of a version. Raises BadArchive where they are not those that were published,
    LogError where they cannot be had."""
    if version.parts == 0:
        content = archive_at(version.place or "")
    else:
        content = _joined(log, registry, topic, version, records.parts.get(version.version, {}))
    if (got := digest_of(content)) != version.digest:
        where = version.place or f"topic {topic!r}"
        raise BadDigest(
            f"model {version.name} {version.version}: {where} expected SHA-256 {version.digest}, "
            f"got {got}"
        )
    return content


def folder_of(
    log: Log,
    registry: SchemaRegistry,
    topic: str,
    version: PublishedVersion,
    records: ModelRecords,
    cache: Path,
) -> Path:
    """A version's files in a folder. Raises as `archive_of`, and OSError."""
    if found := cached(version.digest, cache):
        return found
    return unpack(archive_of(log, registry, topic, version, records), version.digest, cache)


def archive_at(place: str) -> bytes:
    """What is at an absolute path or a URL. Raises BadArchive."""
    if urlsplit(place).scheme in ("http", "https"):
        return _asked(place)
    if not Path(place).is_absolute():
        raise BadArchive(f"place expected an absolute path or an http(s) URL, got {place!r}")
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise BadArchive(f"{place} expected an archive that can be read, got {error}") from error


def _asked(url: str) -> bytes:
    import httpx  # costs a start that fetches nothing 100 ms

    try:
        answer = httpx.get(url, timeout=_ASK_S, follow_redirects=True)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadArchive(f"{url} expected an archive, got {error}") from error
    return answer.content


def _joined(
    log: Log,
    registry: SchemaRegistry,
    topic: str,
    version: PublishedVersion,
    places: dict[int, Place],
) -> bytes:
    missing = [at for at in range(version.parts) if at not in places]
    name = f"model {version.name} {version.version}"
    if missing:
        raise BadArchive(
            f"{name}: topic {topic!r} expected {version.parts} parts, got none of number "
            f"{missing[0]}"
        )
    decode = JsonDecoder(lambda key: schema_of(registry, log.patience, key)).decode
    wanted = {places[at]: at for at in range(version.parts)}
    partitions = {place.partition for place in wanted}
    starts = {p: min(each.offset for each in wanted if each.partition == p) for p in partitions}
    stops = {p: 1 + max(each.offset for each in wanted if each.partition == p) for p in partitions}
    found: dict[int, bytes] = {}
    for record in read_range(log, topic, starts, stops):
        at = wanted.get(Place(record.partition, record.offset))
        if at is None or record.value is None:
            continue
        try:
            found[at] = decode(record.value)["content"] or b""
        except UnreadableError as error:
            raise BadArchive(f"{name}: part {at} expected Avro, got {error}") from error
    if len(found) < version.parts:
        raise BadArchive(f"{name}: expected {version.parts} parts, got {len(found)}")
    return b"".join(found[at] for at in range(version.parts))


__all__ = ["archive_at", "archive_of", "folder_of"]
