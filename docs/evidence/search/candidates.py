"""The candidates of the search for scope_plus and scope_text, by the label that tables give them."""

from __future__ import annotations

from typing import Any

CLS: dict[str, Any] = {"name": "cls_attention", "layer": -2, "heads": "sum"}
KEYS: dict[str, Any] = {"name": "keys_cosine", "layer": -2, "heads": "concat"}
LOG_DET: dict[str, Any] = {"name": "log_det", "ridge": 1.0}
RELEVANT = {share: {"name": "prompt_relevance", "temperature": share} for share in (0.02, 0.05, 0.1)}


def spec(
    saliency: Any = CLS, coverage: Any = "facility_location", alpha: float = 1.0, similarity: Any = "cosine"
) -> Any:
    """SCOPE with other parts; alpha 0 is coverage alone."""
    combiner = {"name": "product", "alpha": alpha} if alpha else "coverage_only"
    parts = {"saliency": saliency, "coverage": coverage, "combiner": combiner, "similarity": similarity}
    return {**parts, "optimizer": "greedy", "at": "vision"}


def rows(weights: Any = CLS) -> Any:
    """Facility location whose rows are weighted."""
    return {"name": "facility_location", "weights": weights}


def power(saliency: Any, exponent: float) -> Any:
    """A saliency to a power."""
    return {"name": "blend", "of": [saliency], "weights": [exponent], "how": "product", "scale": "max"}


def near(scale: float, similarity: Any = "cosine") -> Any:
    """A similarity times a Gaussian of the distance in the image."""
    return {"name": "blend", "of": [similarity, {"name": "spatial", "scale": scale}], "how": "product"}


def sharp(times: int) -> Any:
    """Cosines to a power."""
    return {"name": "blend", "of": [{"name": "without_negatives", "of": "cosine"}] * times, "how": "product"}


def mixed(temperature: float, share: float = 1.0, how: str = "sum") -> Any:
    """Attention from CLS and relevance to the prompt's words."""
    weights = {"weights": [1.0, share]} if how == "sum" else {}
    return {"name": "blend", "of": [CLS, RELEVANT[temperature]], "how": how, "scale": "mean", **weights}


def text(saliency: Any) -> Any:
    """A text-aware candidate: the saliency both weighs rows and ranks picks."""
    return spec(saliency, rows(saliency), 0.5, KEYS)


def step(coverage: Any) -> Any:
    """One step of a chain."""
    return {"name": "composite", **{k: v for k, v in spec(CLS, coverage, 0.5).items() if k != "at"}}


FIRST: dict[str, Any] = {
    "scope": "scope",
    "divprune": "divprune",
    "adts": "adts",
    "top_k": "top_k_attention",
    "a1.5": spec(alpha=1.5),
    "adts.5": spec(coverage="max_min", alpha=0.5),
    "adts2": spec(coverage="max_min", alpha=2.0),
    "w1_a0": spec(coverage=rows(), alpha=0),
    "w.5_a1": spec(coverage=rows(power(CLS, 0.5))),
    "w1_a1": spec(coverage=rows()),
    "w1_a.5": spec(coverage=rows(), alpha=0.5),
    "sharp2": spec(similarity=sharp(2)),
    "sharp4": spec(similarity=sharp(4)),
    "sharp4_w1": spec(similarity=sharp(4), coverage=rows()),
    "sharp2_w1": spec(similarity=sharp(2), coverage=rows()),
    "sp4": spec(similarity=near(4.0)),
    "sp2": spec(similarity=near(2.0)),
    "logdet": spec(coverage=LOG_DET),
    "keys": spec(similarity=KEYS),
    "smooth": spec({"name": "smoothed", "of": CLS, "reach": 1, "sigma": 0.7}),
    "l-1": spec({**CLS, "layer": -1}),
    "l-3": spec({**CLS, "layer": -3}),
    "l-4": spec({**CLS, "layer": -4}),
    "layers": spec(
        {"name": "blend", "of": [{**CLS, "layer": at} for at in (-1, -2, -3)], "how": "sum", "scale": "max"}
    ),
    "md": spec("mean_distance"),
    "cls*md": spec({"name": "blend", "of": [CLS, "mean_distance"], "how": "product", "scale": "max"}),
    "theta.7": spec(coverage={"name": "theta_cover", "theta": 0.7}),
    "theta.6": spec(coverage={"name": "theta_cover", "theta": 0.6}),
}
"""One change of SCOPE at a time."""

SECOND: dict[str, Any] = {
    "adts.3": spec(coverage="max_min", alpha=0.3),
    "k_adts.5": spec(similarity=KEYS, coverage="max_min", alpha=0.5),
    "k_adts1": spec(similarity=KEYS, coverage="max_min"),
    "k_w1_a.5": spec(similarity=KEYS, coverage=rows(), alpha=0.5),
    "k_w1_a0": spec(similarity=KEYS, coverage=rows(), alpha=0),
    "k_sp3": spec(similarity=near(3.0, KEYS)),
    "k_sp3_w1_a.5": spec(similarity=near(3.0, KEYS), coverage=rows(), alpha=0.5),
    "k_sp4_adts.5": spec(similarity=near(4.0, KEYS), coverage="max_min", alpha=0.5),
    "sp2_adts.5": spec(similarity=near(2.0), coverage="max_min", alpha=0.5),
    "sp4_adts.5": spec(similarity=near(4.0), coverage="max_min", alpha=0.5),
    "sp3_w1_a.5": spec(similarity=near(3.0), coverage=rows(), alpha=0.5),
    "sp4_w1_a0": spec(similarity=near(4.0), coverage=rows(), alpha=0),
    "sp2_w1_a.5": spec(similarity=near(2.0), coverage=rows(), alpha=0.5),
    "logdet_a.5": spec(coverage=LOG_DET, alpha=0.5),
    "k_logdet_a.5": spec(similarity=KEYS, coverage=LOG_DET, alpha=0.5),
    "cos+k_w1_a.5": spec(
        similarity={"name": "blend", "of": ["cosine", KEYS], "how": "sum"}, coverage=rows(), alpha=0.5
    ),
    "chain_adts_w": {
        "selector": {
            "name": "chain",
            "stages": [step("max_min"), step(rows())],
            "shares": [1, 1],
            "conditioned": True,
        },
        "at": "vision",
    },
}
"""What helped, together."""

THIRD: dict[str, Any] = {
    "k_sp4_w1_a0.5": spec(similarity=near(4.0, KEYS), coverage=rows(), alpha=0.5),
    "k_sp6_w1_a0.5": spec(similarity=near(6.0, KEYS), coverage=rows(), alpha=0.5),
    "k_sp4_w1_a0.75": spec(similarity=near(4.0, KEYS), coverage=rows(), alpha=0.75),
    "k_sp6_w1_a1": spec(similarity=near(6.0, KEYS), coverage=rows()),
    "k_w1_a.75": spec(similarity=KEYS, coverage=rows(), alpha=0.75),
    "k_w1_a.25": spec(similarity=KEYS, coverage=rows(), alpha=0.25),
    "k_sp4_w.5_a.75": spec(similarity=near(4.0, KEYS), coverage=rows(power(CLS, 0.5)), alpha=0.75),
    "k_logdet_a.75": spec(similarity=KEYS, coverage=LOG_DET, alpha=0.75),
}
"""Around the best of them."""

LAST: dict[str, Any] = {
    "k_sp4_w1_a.5": THIRD["k_sp4_w1_a0.5"],
    "k_w1_a.5": SECOND["k_w1_a.5"],
    "k_sp3_w1_a.5": SECOND["k_sp3_w1_a.5"],
}
"""The best, at 192, 128 and 64 tokens."""

TEXT: dict[str, Any] = {
    "scope": "scope",
    "k_w": text(CLS),
    "mmtok": "mmtok",
    "t0.02_1": text(mixed(0.02)),
    "t0.05_1": text(mixed(0.05)),
    "t0.1_1": text(mixed(0.1)),
    "t.05_3": text(mixed(0.05, 3.0)),
    "t.05_prod": text(mixed(0.05, how="product")),
    "t.05_only": text(RELEVANT[0.05]),
}
"""Text-aware candidates, beside the same without text."""
