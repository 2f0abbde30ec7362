"""What a model saw, for people to look at: the words of images and texts as word clouds.

cell = image_seen(encoder, "dog.jpg", "dog.jpg", terms=40)
picture = side_by_side(cell.photograph, cell.words, caption_seen(encoder, "a dog on a beach", terms=40))
save_picture(picture, Path("dog.png"))
"""

from lexlip_infer.explain.drawing import Words, draw_cloud
from lexlip_infer.explain.sheets import (
    Caption,
    Cell,
    caption_seen,
    contact_sheet,
    image_seen,
    save_picture,
    side_by_side,
)

__all__ = [
    "Caption",
    "Cell",
    "Words",
    "caption_seen",
    "contact_sheet",
    "draw_cloud",
    "image_seen",
    "save_picture",
    "side_by_side",
]
