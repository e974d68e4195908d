import numpy as np

from streamrec.models.training.logs import ClickLog, SessionRows, questions


def test_questions_keep_the_newest_items() -> None:
    prefixes = [np.arange(3), np.arange(120), np.arange(0)]
    numbers = np.concatenate(prefixes).astype(np.int32)
    judged = questions(np.array(list(map(len, prefixes))), numbers, np.array([1, 2, -1], np.int32))
    assert judged.sessions.bounds.tolist() == [0, 3, 53, 53]
    assert judged.sessions.items[3:].tolist() == list(range(70, 120))
    assert judged.sessions.positions.tolist() == [3, 120, 0]


def test_sessions_of_interleaved_clicks() -> None:
    log = ClickLog(np.array([4, 9, 4, 4, 9]), np.array([1, 2, 3, 4, 5]), np.arange(1, 6) * 1000)
    rows = SessionRows(log, log.items.astype(np.int32), key_base=100)
    sessions = rows.sessions(slice(0, 5))
    lists = np.split(sessions.items, sessions.bounds[1:-1])
    assert [each.tolist() for each in lists] == [[1], [2], [1, 3], [1, 3, 4], [2, 5]]
    assert sessions.positions.tolist() == [1, 1, 2, 3, 2]
    assert sessions.keys.tolist() == [100, 101, 100, 100, 101]
    asked = rows.judged_rows()
    assert asked.tolist() == [0, 1, 2]
    assert rows.targets(asked).tolist() == [3, 5, 4]
