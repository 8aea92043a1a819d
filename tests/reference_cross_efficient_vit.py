"""Cross Efficient ViT a second time, straight from the published configuration: functions over a
flat state dict.

It shares nothing with the package but the EfficientNet backbone, and names every tensor that a
published checkpoint holds, with its shape.
"""

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of a published checkpoint."""
    backbone = {
        name: tuple(t.shape)
        for name, t in EfficientNet.from_name("efficientnet-b0").state_dict().items()
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for side, dim, flat, rows in (("sm", 192, 1280 * 7 * 7, 1025), ("lg", 384, 24 * 56 * 56, 17)):
        root = f"{side}_image_embedder"
        shapes |= {f"{root}.efficient_net.{name}": shape for name, shape in backbone.items()}
        shapes |= {f"{root}.pos_embedding": (1, rows, dim), f"{root}.cls_token": (1, 1, dim)}
        shapes |= {
            f"{root}.to_patch_embedding.1.weight": (dim, flat),
            f"{root}.to_patch_embedding.1.bias": (dim,),
        }
        shapes |= {f"{side}_mlp_head.0.{p}": (dim,) for p in ("weight", "bias")}
        shapes |= {f"{side}_mlp_head.1.weight": (1, dim), f"{side}_mlp_head.1.bias": (1,)}
    for layer in range(4):
        for branch, dim, depth in ((0, 192, 2), (1, 384, 3)):
            root = f"multi_scale_encoder.layers.{layer}.{branch}"
            shapes |= {f"{root}.norm.{p}": (dim,) for p in ("weight", "bias")}
            for block in range(depth):
                shapes |= _attention(f"{root}.layers.{block}.0", dim)
                shapes |= _feed_forward(f"{root}.layers.{block}.1", dim)
        for block in range(2):
            for way, own, other in ((0, 192, 384), (1, 384, 192)):
                root = f"multi_scale_encoder.layers.{layer}.2.layers.{block}.{way}"
                shapes |= _attention(f"{root}.fn", other)
                shapes |= {
                    f"{root}.project_in.weight": (other, own),
                    f"{root}.project_in.bias": (other,),
                }
                shapes |= {
                    f"{root}.project_out.weight": (own, other),
                    f"{root}.project_out.bias": (own,),
                }
    return shapes


def _attention(root: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{root}.norm.weight": (dim,),
        f"{root}.norm.bias": (dim,),
        f"{root}.fn.to_q.weight": (512, dim),
        f"{root}.fn.to_kv.weight": (1024, dim),
        f"{root}.fn.to_out.0.weight": (dim, 512),
        f"{root}.fn.to_out.0.bias": (dim,),
    }


def _feed_forward(root: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{root}.norm.weight": (dim,),
        f"{root}.norm.bias": (dim,),
        f"{root}.fn.net.0.weight": (2048, dim),
        f"{root}.fn.net.0.bias": (2048,),
        f"{root}.fn.net.3.weight": (dim, 2048),
        f"{root}.fn.net.3.bias": (dim,),
    }


def forward(w: Weights, image: Tensor) -> Tensor:
    """(N, 3, 224, 224) -> (N, 1)."""
    small, large = _tokens(w, "sm", image, patch=7), _tokens(w, "lg", image, patch=56)
    for layer in range(4):
        root = f"multi_scale_encoder.layers.{layer}"
        small, large = _encode(w, f"{root}.0", small, 2), _encode(w, f"{root}.1", large, 3)
        a, b = small[:, :1], large[:, :1]
        for block in range(2):
            a = a + _cross(w, f"{root}.2.layers.{block}.0", a, large[:, 1:])
            b = b + _cross(w, f"{root}.2.layers.{block}.1", b, small[:, 1:])
        small, large = torch.cat((a, small[:, 1:]), 1), torch.cat((b, large[:, 1:]), 1)
    return sum(
        _linear(w, f"{s}_mlp_head.1", _norm(w, f"{s}_mlp_head.0", t[:, 0]))
        for s, t in (("sm", small), ("lg", large))
    )


def _tokens(w: Weights, side: str, image: Tensor, patch: int) -> Tensor:
    root = f"{side}_image_embedder"
    net = EfficientNet.from_name("efficientnet-b0").eval()
    net.load_state_dict(
        {
            k.removeprefix(f"{root}.efficient_net."): v
            for k, v in w.items()
            if k.startswith(f"{root}.eff")
        }
    )
    net.double() if image.dtype == torch.float64 else net.float()
    endpoints = net.extract_endpoints(image)
    features = endpoints["reduction_6" if side == "sm" else "reduction_2"]
    n, c, h, _ = features.shape
    rows = []
    for top in range(0, h, patch):
        for left in range(0, h, patch):
            window = features[:, :, top : top + patch, left : left + patch]
            rows.append(window.permute(0, 2, 3, 1).reshape(n, patch * patch * c))
    tokens = _linear(w, f"{root}.to_patch_embedding.1", torch.stack(rows, 1))
    tokens = torch.cat((w[f"{root}.cls_token"].repeat(n, 1, 1), tokens), 1)
    return tokens + w[f"{root}.pos_embedding"][:, : tokens.shape[1]]


def _encode(w: Weights, root: str, x: Tensor, depth: int) -> Tensor:
    for block in range(depth):
        x = x + _attend(w, f"{root}.layers.{block}.0", x, None)
        hidden = _norm(w, f"{root}.layers.{block}.1.norm", x)
        hidden = F.gelu(_linear(w, f"{root}.layers.{block}.1.fn.net.0", hidden))
        x = x + _linear(w, f"{root}.layers.{block}.1.fn.net.3", hidden)
    return _norm(w, f"{root}.norm", x)


def _cross(w: Weights, root: str, cls: Tensor, context: Tensor) -> Tensor:
    return _linear(
        w,
        f"{root}.project_out",
        _attend(w, f"{root}.fn", _linear(w, f"{root}.project_in", cls), context),
    )


def _attend(w: Weights, root: str, x: Tensor, context: Tensor | None) -> Tensor:
    x = _norm(w, f"{root}.norm", x)
    source = x if context is None else torch.cat((x, context), 1)
    q = F.linear(x, w[f"{root}.fn.to_q.weight"])
    k, v = F.linear(source, w[f"{root}.fn.to_kv.weight"]).split(512, -1)
    heads = []
    for head in range(8):
        part = slice(64 * head, 64 * head + 64)
        scores = q[..., part] @ k[..., part].mT / 8
        heads.append(scores.softmax(-1) @ v[..., part])
    return _linear(w, f"{root}.fn.to_out.0", torch.cat(heads, -1))


def _norm(w: Weights, root: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{root}.weight"], w[f"{root}.bias"])


def _linear(w: Weights, root: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{root}.weight"], w[f"{root}.bias"])
