"""Crops: the square around a face that a model sees, the rule that frames it, and the index that lists them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CropRule:
    """How to frame the square around a face; it belongs to a model's input format.

    The side is `scale` times the reference length of the detector's box, and the centre lies `shift_y`
    times the box height below the centre of the box. What lies outside the frame is black.
    """

    name: str
    reference: str = "height"
    """`height`, `width` or `longer` side of the box."""
    scale: float = 1.0
    shift_y: float = 0.0


CROP_RULES = {
    rule.name: rule
    for rule in (
        CropRule("dfdc", reference="height", scale=0.84, shift_y=0.08),
        CropRule("tight", reference="longer", scale=1.0),
        CropRule("margin", reference="longer", scale=1.3),
    )
}
"""`dfdc`: framed like the published DFDC crops (measured against MTCNN boxes); `tight`: the box made square."""
