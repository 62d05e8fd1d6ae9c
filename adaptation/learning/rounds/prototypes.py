"""Where self-labelling starts: the class means of the target's features, and the shares of the classes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from adaptation.learning.data.labelled_frames import read_image
from adaptation.learning.evaluation.evaluate import FrameLabeller
from adaptation.learning.methods.cpsl import Prototypes, class_shares
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.rounds.self_labeler import SelfLabeler, embedding_of
from exchange.images.frame_fitting import fit_frame
from exchange.jobs.recipes import SelfLabelingConfig
from exchange.label_space import IGNORE_ID, NUM_CLASSES

PROTOTYPES_FILE = "prototypes.safetensors"


@torch.inference_mode()
def measure_prototypes(
    folder: Path, labeller: FrameLabeller, images: Sequence[Path], on_frame: Callable[[int, int], None]
) -> None:
    """Reads whole frames with the network in eval mode, and writes the prototypes and the predicted class shares."""
    network, windows = labeller.network.eval(), labeller.windows
    prototypes: Prototypes | None = None
    shares_C = torch.zeros(NUM_CLASSES, dtype=torch.float64)
    for done, path in enumerate(images, start=1):
        frame, valid_hw = fit_frame(read_image(path), labeller.frame_size)
        maps = network.fused(
            normalize(torch.from_numpy(frame)[None].to(labeller.device)),
            windows.detail_crop,
            windows.detail_stride,
            with_embedding=True,
        )
        embedding_NDHW = embedding_of(maps)
        classes_Nhw = maps.logits_NKHW.argmax(dim=1)
        classes_Nhw[:, -(-valid_hw[0] // network.stride) :] = IGNORE_ID
        classes_Nhw[:, :, -(-valid_hw[1] // network.stride) :] = IGNORE_ID
        if prototypes is None:
            prototypes = Prototypes(NUM_CLASSES, embedding_NDHW.shape[1]).to(labeller.device)
        prototypes.update(embedding_NDHW, classes_Nhw)
        shares_C += class_shares(classes_Nhw.cpu(), NUM_CLASSES) / len(images)
        on_frame(done, len(images))
    if prototypes is None:
        raise ValueError("prototypes need at least one target frame")
    state = prototypes.state_dict() | {"shares_C": shares_C}
    save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, folder / PROTOTYPES_FILE)


def open_self_labeler(folder: Path, config: SelfLabelingConfig, device: torch.device) -> SelfLabeler:
    """A self-labeller that starts from what `measure_prototypes` wrote."""
    state = load_file(folder / PROTOTYPES_FILE)
    shares_C = state.pop("shares_C")
    prototypes = Prototypes(*state["vectors_CD"].shape)
    prototypes.load_state_dict(state)
    labeler = SelfLabeler(config, prototypes.vectors_CD.shape[1])
    labeler.begin(prototypes, shares_C)
    return labeler.to(device)
