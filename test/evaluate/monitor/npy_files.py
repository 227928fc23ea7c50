"""Arrays as NumPy itself writes them, as base64: the reference for our reader."""
import base64
import io
import json
import sys

import numpy

images = (numpy.arange(2 * 3 * 4 * 3, dtype="uint8") * 3).reshape(2, 3, 4, 3)
floats = (images / 255).astype("float32")


def written(save, *args, **kwargs):
    out = io.BytesIO()
    save(out, *args, **kwargs)
    return base64.b64encode(out.getvalue()).decode()


json.dump(
    {
        "npy": written(numpy.save, images),
        "float": written(numpy.save, floats),
        "double": written(numpy.save, floats.astype("float64")),
        "fortran": written(numpy.save, numpy.asfortranarray(images)),
        "int": written(numpy.save, images.astype("int64")),
        "npz": written(numpy.savez, images=images, other=floats),
        "compressed": written(numpy.savez_compressed, images=images, other=floats),
    },
    sys.stdout,
)
