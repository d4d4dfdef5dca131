"""Backward passes of `tests.attribution.small.Small` written out in NumPy, float64.

Nothing here is a gradient: maxima are remembered as switches, filters are transposed by loops.
"""

import numpy as np


def convolve(x, kernel):
    """3x3, padded by one: (N, H, W, C) and (3, 3, C, F) to (N, H, W, F)."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def transposed_convolution(signal, kernel):
    """Each unit paints its filter, times its signal, on the pixels that it saw."""
    count, height, width, _ = signal.shape
    painted = np.zeros((count, height + 2, width + 2, kernel.shape[2]))
    for row in range(height):
        for column in range(width):
            patch = np.einsum("nf,ijcf->nijc", signal[:, row, column], kernel)
            painted[:, row : row + 3, column : column + 3] += patch
    return painted[:, 1:-1, 1:-1]


def pool(x, window):
    """Returns maxima at stride 2, and the switches: (N, H', W', C, 2) rows and columns of them."""
    count, height, width, channels = x.shape
    rows, columns = ((length - window) // 2 + 1 for length in (height, width))
    maxima = np.zeros((count, rows, columns, channels))
    switches = np.zeros((*maxima.shape, 2), int)
    for n, r, c, f in np.ndindex(*maxima.shape):
        patch = x[n, 2 * r : 2 * r + window, 2 * c : 2 * c + window, f]
        place = np.unravel_index(patch.argmax(), patch.shape)
        maxima[n, r, c, f] = patch[place]
        switches[n, r, c, f] = 2 * r + place[0], 2 * c + place[1]
    return maxima, switches


def unpool(signal, switches, shape):
    unpooled = np.zeros(shape)
    for n, r, c, f in np.ndindex(*signal.shape):
        row, column = switches[n, r, c, f]
        unpooled[n, row, column, f] += signal[n, r, c, f]
    return unpooled


def normalise(x):
    """`local_response_norm(x, size=3, alpha=0.1)`."""
    squares = np.pad(x**2, [(0, 0)] * 3 + [(1, 1)])
    return x * (2 + 0.1 * (squares[..., :-2] + squares[..., 1:-1] + squares[..., 2:])) ** -0.75


def rectified(signal, before, method, most):
    """What a ReLU, whose input was `before`, sends back."""
    passed = (before > 0) & (before < most)
    masks = {"deconvnet": signal > 0, "guided": passed & (signal > 0), "gradient": passed}
    return np.where(masks[method], signal, 0)


class Passes:
    """A forward pass, kept, and backward passes from the logits or from the second pool.

    Args:
      most: where the rectifier ends, 6 for ReLU6.
    """

    def __init__(self, model, variables, images, most=np.inf):
        self.model, self.most, x = model, most, np.asarray(images, np.float64)
        self.params = variables["params"]
        self.kept = []
        for number in range(len(model.features)):
            layer = self.params[f"conv{number + 1}"]
            before = convolve(x, layer["kernel"]) + layer.get("bias", 0)
            maxima, switches = pool(np.clip(before, 0, most), model.window)
            self.kept.append((before, switches))
            x = normalise(maxima) if model.lrn else maxima
        self.pooled, self.last = maxima, x
        dense = self.params["dense"]
        self.logits = x.reshape(len(x), -1) @ dense["kernel"] + dense.get("bias", 0)

    def from_logits(self, classes, method):
        return self._down(
            self.params["dense"]["kernel"][:, classes].T.reshape(self.last.shape), method
        )

    def from_pool(self, channels, method):
        """From the strongest unit of a map of the second pool."""
        signal = np.zeros_like(self.pooled)
        for n, channel in enumerate(channels):
            row, column = np.unravel_index(
                self.pooled[n, ..., channel].argmax(), self.pooled.shape[1:3]
            )
            signal[n, row, column, channel] = self.pooled[n, row, column, channel]
        return self._down(signal, method)

    def _down(self, signal, method):
        for number in reversed(range(len(self.kept))):
            before, switches = self.kept[number]
            signal = unpool(signal, switches, before.shape)
            signal = rectified(signal, before, method, self.most)
            signal = transposed_convolution(signal, self.params[f"conv{number + 1}"]["kernel"])
        return signal
