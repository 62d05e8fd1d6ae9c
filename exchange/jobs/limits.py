"""What a candidate may lose, and what it must not lack. Shares are 0 to 1."""

from pydantic import BaseModel, ConfigDict, Field


class GateLimits(BaseModel):
    """One set for every domain; where they come from is told in adaptation/EXPERIMENTS.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_iou_lost: float = Field(default=0.02, ge=0)
    """Of the mean over the classes that the source's frames show."""
    source_class_kept: float = Field(default=0.5, ge=0, le=1)
    """Of the incumbent's IoU, for every class that it knows."""
    known_class_iou: float = Field(default=0.1, ge=0, le=1)
    """An incumbent below this does not know a class, and a candidate cannot lose it."""
    sentinel_iou_lost: float = Field(default=0.02, ge=0)
    sentinel_required: bool = False
    """Whether a gate without regions that people labelled refuses."""
    fewest_labelled_pixels: int = Field(default=500, ge=1)
    """Of a class, below which its IoU counts nowhere."""
    accuracy_lost: float = Field(default=0.01, ge=0)
    """Of the estimated accuracy on the target."""
    agreement: float = Field(default=0.7, ge=0, le=1)
    """With the incumbent on the target: a candidate that is this different is another network, not a better one."""
    sure_kept: float = Field(default=0.95, ge=0, le=1)
    """Of the pixels of which the judge is sure."""
    sure_class_kept: float = Field(default=0.5, ge=0, le=1)
    """The same, for every class by itself."""
    sure_class_share: float = Field(default=3e-3, ge=0, le=1)
    """Least share of the pixels that the judge is sure of for a class to be judged by itself: fewer are one object."""
    presence_below: float = Field(default=0.25, ge=0, le=1)
    """How far a class's share of frames may lie below the prior's interval."""
    presence_off: float = Field(default=0.08, ge=0, le=1)
    """How far outside the interval on average over the classes."""
    classes_kept: float = Field(default=0.7, ge=0, le=1)
    """Of the effective number of classes in the incumbent's predictions."""
    latency_ratio: float = Field(default=1.25, gt=0)
    """Candidate's time of a frame over the incumbent's."""
    target_frames: int = Field(default=96, ge=16, le=4096)
    """Most frames of the target that are looked at, evenly spread: each costs several inferences of both."""
