"""What the towers are made of, as declared in a training configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

Pooling = Literal["mean", "attention"]
Share = Annotated[float, Field(ge=0, lt=1)]
Similarity = Literal["cosine", "dot"]
"""What vectors are compared by."""


class Section(BaseModel):
    """A part of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mlp(Section):
    """Fully connected layers with ReLU."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[PositiveInt, ...] = Field(default=(128,), min_length=1)
    """Widths of the layers."""


class Senet(Section):
    """A gate that weighs each input of the tower by what all inputs are."""

    kind: Literal["senet"] = "senet"
    reduction: PositiveInt = 3
    """How many inputs share one hidden unit of the gate."""


class Cross(Section):
    """A cross network (DCN-v2): products of inputs, of one degree more in each layer."""

    kind: Literal["cross"] = "cross"
    layers: PositiveInt = 2


BlockConfig = Annotated[Mlp | Senet | Cross, Field(discriminator="kind")]


class RowSum(Section):
    """The sum of the tower's rows, by one matrix for both towers: what a tower of blocks adds to what these give."""

    kind: Literal["rows"] = "rows"


class Fm(Section):
    """The sum of the products of every two inputs: a factorisation machine's second order, as a vector."""

    kind: Literal["fm"] = "fm"
    width: PositiveInt = 16
    """Length to which each input is projected."""


class Cin(Section):
    """A compressed interaction network (xDeepFM): sums of products of inputs, of one factor more in each layer."""

    kind: Literal["cin"] = "cin"
    width: PositiveInt = 16
    """Length to which each input is projected."""
    maps: tuple[PositiveInt, ...] = Field(default=(16, 16), min_length=1)
    """How many sums each layer has."""


BranchConfig = Annotated[RowSum | Mlp | Cross | Fm | Cin, Field(discriminator="kind")]


class AugmentConfig(Section):
    """A second vector of each ID beside its row, an input of its own tower, that mimics what the other tower gives.

    Yu et al., DLP-KDD 2021 (dual augmented two-tower, DAT).
    """

    user: NonNegativeFloat = 0.5
    """Weight of the loss by which users' augmented vectors mimic items' vectors."""
    item: NonNegativeFloat = 0.5
    """Weight of the loss by which items' augmented vectors mimic users' vectors."""
    align: NonNegativeFloat = 0.0
    """Weight of the loss by which items of each category have the covariance of those of the commonest one."""
    category: str | None = None
    """The categorical or multi-valued feature of items that `align` goes by; of several values the first counts."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if self.align and self.category is None:
            raise ValueError("align needs category: the feature of items whose values are to be aligned")
        if self.category is not None and not self.align:
            raise ValueError("category has no effect while align is 0")
        return self


class MeanPooling(Section):
    """The mean of the history's item rows."""

    kind: Literal["mean"] = "mean"


class DecayPooling(Section):
    """Means weighted by 2^(-age / half-life), one for each half-life; the half-lives are learned from here on."""

    kind: Literal["decay"] = "decay"
    half_lives_seconds: tuple[PositiveFloat, ...] = Field(default=(60.0, 3600.0, 86_400.0), min_length=1)


class Gru(Section):
    """A gated recurrent unit over the item rows in order; its last state, of the length of a row."""

    kind: Literal["gru"] = "gru"
    dropout: Share = 0.0
    """Of the unit's inputs."""


class Transformer(Section):
    """A causal Transformer over the item rows in order; its state at the last event."""

    kind: Literal["transformer"] = "transformer"
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    """Divides `model.dim`."""
    hidden: PositiveInt = 256
    """Width of the fully connected layer in each block."""
    dropout: Share = 0.2
    """Of the inputs, of attention weights, and of what each half of a block adds."""


class Bsarec(Section):
    """A Transformer whose blocks also take the history apart into slow and quick changes; its state at the last event.

    Shin et al., AAAI 2024 (BSARec), made causal: see `pagoda.model.history.bsarec`.
    """

    kind: Literal["bsarec"] = "bsarec"
    layers: PositiveInt = 2
    heads: PositiveInt = 1
    """Divides `model.dim`."""
    hidden: PositiveInt = 256
    """Width of the fully connected layer in each block."""
    dropout: Share = 0.5
    """Of the inputs, of attention weights, and of what each half of a block adds."""
    filtered: Annotated[float, Field(ge=0, le=1)] = 0.7
    """The filter's share of a block, attention has the rest."""
    frequencies: PositiveInt = 3
    """Lowest frequencies of the history that count as slow: half of the paper's c, and the mean."""


class _Interests(Section):
    interests: int = Field(default=4, ge=1, le=16)
    """Vectors of a user, any of which may find an item. An answer is what is best by one of them."""


class SelfAttentive(_Interests):
    """Several interests, each a mean of the item rows with weights of its own (ComiRec-SA)."""

    kind: Literal["self_attentive"] = "self_attentive"
    hidden: PositiveInt = 256
    """Width of the layer that the weights come from."""


class Routing(_Interests):
    """Several interests, among which each event is divided by what it agrees with (MIND)."""

    kind: Literal["routing"] = "routing"
    iterations: PositiveInt = 3
    """Rounds of routing."""


HistoryConfig = Annotated[
    MeanPooling | DecayPooling | Gru | Transformer | Bsarec | SelfAttentive | Routing, Field(discriminator="kind")
]


class TowerConfig(Section):
    """One tower: what lies between its inputs and the projection to the vector.

    Without any block and without features there is no projection either: the vector is the direction of the sum of the
    tower's rows.
    """

    blocks: tuple[BlockConfig, ...] = (Mlp(),)
    pooling: Pooling = "mean"
    """What makes one vector of the values of a list or the n-grams of a text: their mean, or a mean weighed by learned
    attention."""

    @model_validator(mode="after")
    def _gate_first(self) -> Self:
        if any(isinstance(block, Senet) for block in self.blocks[1:]):
            raise ValueError("a senet block weighs the tower's inputs, so it must be the first of blocks")
        return self


class UserTowerConfig(TowerConfig):
    """The user tower."""

    id_row: bool = True
    """Whether the user's own ID row is an input; without it, incremental updates have nothing to change."""
    example_age: bool = False
    """Whether training tells the tower how old an example is, so that what was popular then is not taken for what is
    popular now; serving says zero (Covington et al., RecSys 2016, section 3.3)."""


class ModelConfig(Section):
    """Both towers."""

    dim: PositiveInt = 64
    """Length of vectors and of ID rows."""
    feature_dim: PositiveInt = 16
    """Length of a feature value's embedding."""
    similarity: Similarity = "cosine"
    """`cosine`: vectors have unit length, and only where they point counts. `dot`: their inner product, so an item may
    be long because many choose it."""
    history: HistoryConfig = DecayPooling()
    """Used where the dataset declares a history."""
    seed_item: bool = False
    """Whether the last item of the history is an input of its own too, as the video being watched is in Zhao et al.,
    RecSys 2019."""
    branches: tuple[BranchConfig, ...] = ()
    """Parallel towers: several ways from the inputs of a tower, each to an equal part of its vector, the same ones in
    both towers. They take the place of blocks. Empty: one way, by the blocks."""
    augment: AugmentConfig | None = None
    """Augmented vectors beside ID rows, which are twice as long then; None: without."""
    user: UserTowerConfig = UserTowerConfig()
    item: TowerConfig = TowerConfig()

    @property
    def row_dim(self) -> int:
        """Length of what the tables of ID rows hold of an ID."""
        return self.dim if self.augment is None else 2 * self.dim

    @property
    def interests(self) -> int:
        """How many vectors a user has, where the dataset declares a history."""
        return self.history.interests if isinstance(self.history, SelfAttentive | Routing) else 1

    @model_validator(mode="before")
    @classmethod
    def _instead_of_blocks(cls, given: Any) -> Any:
        """Where branches are declared, towers have no block that is not."""
        if not isinstance(given, dict) or not given.get("branches"):
            return given
        towers = {name: given.get(name, {}) for name in ("user", "item")}
        return given | {name: {"blocks": ()} | tower for name, tower in towers.items() if isinstance(tower, dict)}

    @model_validator(mode="after")
    def _branches_fit(self) -> Self:
        kinds = [branch.kind for branch in self.branches]
        if not kinds:
            return self
        if len(kinds) == 1 or len(set(kinds)) < len(kinds):
            raise ValueError(f"model.branches are {kinds}, and must be two or more, each of another kind")
        if self.dim % len(kinds):
            raise ValueError(
                f"model.branches are {len(kinds)}, which must divide model.dim {self.dim}: each gives an equal part of "
                "the vector"
            )
        for name, tower in {"user": self.user, "item": self.item}.items():
            if others := [block.kind for block in tower.blocks if not isinstance(block, Senet)]:
                raise ValueError(
                    f"model.{name}.blocks holds {others}, but model.branches take the place of blocks: a senet gate "
                    "alone may stand before them"
                )
        return self

    @model_validator(mode="after")
    def _read(self) -> Self:
        if self.user.example_age and not (self.user.blocks or self.branches):
            raise ValueError("model.user.example_age is read by blocks, and there are none")
        if self.augment is not None and not self.user.id_row:
            raise ValueError("model.augment is beside ID rows, and model.user.id_row is false: users would have none")
        return self

    @model_validator(mode="after")
    def _one_vector_of_unit_length(self) -> Self:
        given = [name for name, there in (("branches", self.branches), ("augment", self.augment)) if there]
        if given and self.interests > 1:
            raise ValueError(
                f"model.{given[0]} is for users of one vector, and model.history gives {self.interests}; leave out one"
            )
        if given and self.similarity == "dot":
            raise ValueError(f"model.{given[0]} is for cosines, and model.similarity is dot; leave out one of them")
        return self

    @model_validator(mode="after")
    def _heads_fit(self) -> ModelConfig:
        if isinstance(self.history, Transformer | Bsarec) and self.dim % self.history.heads:
            raise ValueError(f"model.history.heads {self.history.heads} must divide model.dim {self.dim}")
        return self
