"""What `train-propensity` does.

The features are those that the dataflow computes, by the same steps; the label of a click is
whether its user buys within the hour after it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from streamrec.dataflows.steps.batches import Clicks, ShardClicks
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.history import own_decoder
from streamrec.dataflows.steps.score import scoring_features
from streamrec.models.propensity import save_propensity
from streamrec.models.users import kernels
from streamrec.models.users.features import EVENT_TYPES, HOUR_MS
from streamrec.models.users.state import UserState
from streamrec.shop.history import SHOP_IDS, shop_read
from streamrec.shop.shop import Shop

TEST_SHARE = 0.2  # of the clicks, the newest
_PURCHASE = EVENT_TYPES.index("purchase")


def shop_clicks(clicks: int, seed: int) -> list[Clicks]:
    """Clicks of the shop with their features, as the dataflow would have them."""
    declared = scoring_features()
    decoder = own_decoder()
    decode = DecodeClicks(lambda: decoder, len(declared), shards=1, max_ahead_s=10**9)
    state = UserState(declared)
    found: list[Clicks] = []
    shop = Shop(seed=seed, clicks=clicks, schema_ids=SHOP_IDS, broken_share=0.0)
    for raw in shop_read(shop):
        for shard_clicks in decode([raw]):
            assert isinstance(shard_clicks, ShardClicks), shard_clicks.message
            own = shard_clicks.clicks
            state.update(
                own.matrix,
                shard_clicks.rows,
                own.user_ids,
                own.features,
                own.status,
                own.partition_count,
                with_sessions=False,
            )
            found.append(own)
    return found


def buys_within_hour(
    users: NDArray[np.int64], times_ms: NDArray[np.int64], event_types: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) for each click whether its user's next purchase comes within the hour after it."""
    order = np.lexsort((times_ms, users))
    labels = np.zeros(len(users), np.bool_)
    user, bought_ms = 0, 0
    for row in order[::-1].tolist():  # newest first, user by user
        if users[row] != user:
            user, bought_ms = int(users[row]), 0
        labels[row] = times_ms[row] < bought_ms <= times_ms[row] + HOUR_MS
        if event_types[row] == _PURCHASE:
            bought_ms = int(times_ms[row])
    return labels


def train_propensity(clicks: int, seed: int, out: Path) -> str:
    """Fit, write, and say how well the scores tell buyers from others on the newest clicks."""
    parts = shop_clicks(clicks, seed)
    matrix = np.concatenate([part.matrix for part in parts], axis=1)
    features = np.concatenate([part.features for part in parts])
    times_ms = matrix[kernels.TIME_MS]
    labels = buys_within_hour(matrix[kernels.HASH_LOW], times_ms, matrix[kernels.EVENT_TYPE])
    first_test_ms = np.quantile(times_ms, 1 - TEST_SHARE)
    # What is learned from must have had its hour before the test begins, and the test its own.
    is_train = times_ms < first_test_ms - HOUR_MS
    is_test = (times_ms >= first_test_ms) & (times_ms <= times_ms.max() - HOUR_MS)
    model = LogisticRegression(max_iter=1_000).fit(features[is_train], labels[is_train])
    names = scoring_features().names
    save_propensity(out, names, model.coef_[0], float(model.intercept_[0]))
    auc = roc_auc_score(labels[is_test], model.predict_proba(features[is_test])[:, 1])
    return (
        f"{out.name}: {is_train.sum()} clicks, {labels[is_train].mean():.1%} followed by a purchase"
        f" within the hour; area under the curve on the {is_test.sum()} newest {auc:.3f}"
    )
