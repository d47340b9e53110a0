# SPDX-License-Identifier: Apache-2.0
"""What PyTorch programs do, as checks with a result and as measurements: run once natively and once remotely, and compared.

    torch_suite.py checks|times [NAME...]

Prints one line of JSON for each: {"name": ..., "value": ..., "seconds": ...} or {"name": ..., "error": ...}. Values are
numbers or lists of numbers that must agree between the runs; every random number comes from a fixed seed.
"""
import json
import os
import sys
import time

START = time.perf_counter()
import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

CHECKS, TIMES = {}, {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def timed(function):
    TIMES[function.__name__] = function
    return function


def summary(tensor):
    """A few numbers that change when any part of a tensor does."""
    tensor = tensor.detach().double().flatten()
    weights = torch.linspace(1, 2, tensor.numel(), dtype=torch.double, device=tensor.device)
    return [tensor.sum().item(), (tensor * weights).sum().item(), tensor.abs().max().item()]


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape).to("cuda", dtype)


# Checks

@check
def tensor_operations():
    a, b = random(1000, 300), random(1000, 300)
    parts = [a + b, a * b, torch.exp(a), a.sum(0), a.max(1).values, a[a > 0], torch.sort(a, 1).values, a.cumsum(0),
             torch.cat([a, b]), torch.where(a > b, a, b), a.t().contiguous(), a.to(torch.float16).float()]
    return [value for part in parts for value in summary(part)]


@check
def matmul_fp32():
    return summary(random(512, 1024) @ random(1024, 256))


@check
def matmul_bf16():
    return summary((random(512, 1024, dtype=torch.bfloat16) @ random(1024, 256, dtype=torch.bfloat16)).float())


@check
def convolution():
    x = random(8, 16, 64, 64).requires_grad_()
    weights = random(32, 16, 3, 3).requires_grad_()
    y = F.conv2d(x, weights, padding=1)
    y.square().mean().backward()
    return summary(y) + summary(x.grad) + summary(weights.grad)


@check
def fft():
    return summary(torch.fft.fft2(random(16, 256, 256)).abs())


@check
def sparse():
    dense = random(500, 500)
    matrix = torch.where(dense > 1.5, dense, 0).to_sparse_csr()
    return summary(matrix @ random(500, 64))


@check
def linear_solve():
    a = random(256, 256) + 32 * torch.eye(256, device="cuda")
    return summary(torch.linalg.solve(a, random(256, 8))) + summary(torch.linalg.svdvals(a))


@check
def autograd():
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.LayerNorm(128), nn.Linear(128, 1)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = random(256, 64), random(256, 1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@check
def compiled():
    @torch.compile
    def function(x, y):
        return torch.softmax(x * 2 + torch.sin(y), -1).sum(0)
    return summary(function(random(300, 400), random(300, 400)))


@check
def cuda_graphs():
    x = random(64, 256)
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 16)).cuda()
    with torch.no_grad():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            model(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = model(x)
        values = []
        for step in range(3):
            x.fill_(step)
            graph.replay()
            values += summary(y)
    return values


class GPT(nn.Module):
    """A small language model of the usual kind."""

    def __init__(self, words=256, width=128, heads=4, layers=4, length=128):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

    def forward(self, tokens):
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        x = self.words(tokens) + self.places(torch.arange(length, device=tokens.device))
        return self.head(self.layers(x, mask=mask, is_causal=True))


@check
def gpt_training():
    model = GPT().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    data = torch.randint(0, 256, (64, 129))
    losses = []
    for step in range(30):
        batch = data[step % 4 * 16:step % 4 * 16 + 16].cuda()
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, index):
        return torch.full((100,), float(index))


@check
def data_loader():
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=32, num_workers=2, pin_memory=True)
    return [sum(batch.to("cuda", non_blocking=True).sum().item() for batch in loader)]


@check
def out_of_memory():
    """The error is PyTorch's own, and what was held is usable afterwards."""
    held = torch.ones(1000, device="cuda")
    free, _ = torch.cuda.mem_get_info()
    try:
        torch.empty(free * 2, dtype=torch.uint8, device="cuda")
        return [0]
    except torch.cuda.OutOfMemoryError:
        return [held.sum().item()]


# Measurements

def rate(step, warm_up=5, seconds=5.0):
    """Calls a second of a step, which must end by itself on the device."""
    for _ in range(warm_up):
        step()
    torch.cuda.synchronize()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
        if count % 10 == 0:
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    return count / (time.perf_counter() - start)


def resnet(batch, trains):
    import torchvision
    model = torchvision.models.resnet50().cuda().to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    if not trains:
        model.eval()

        def infer():
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
                model(x)
        return rate(infer)
    target = torch.randint(0, 1000, (batch,), device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    return rate(train)


@timed
def first_result():
    """Seconds from the start of the program to the first result; the only one that is better when smaller."""
    torch.ones(1, device="cuda").item()
    return 1 / (time.perf_counter() - START)


@timed
def resnet50_training_256():
    return resnet(256, True)


@timed
def resnet50_inference_1():
    return resnet(1, False)


@timed
def resnet50_inference_256():
    return resnet(256, False)


@timed
def gpt2_small_training_step():
    model = GPT(words=50257, width=768, heads=12, layers=12, length=1024).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = torch.randint(0, 50257, (8, 1025), device="cuda")

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    return rate(step)


@timed
def decoding_token_by_token():
    model = GPT(words=32000, width=512, heads=8, layers=8, length=512).cuda().eval()
    tokens = torch.randint(0, 32000, (1, 256), device="cuda")

    def step():
        with torch.no_grad():
            # The token is read back each time, as a program that prints does.
            tokens[0, -1] = int(model(tokens)[0, -1].argmax().item())
    return rate(step)


def bandwidth(from_host):
    host, device = torch.empty(256 << 20, dtype=torch.uint8).pin_memory(), torch.empty(256 << 20, dtype=torch.uint8, device="cuda")

    def copy():
        device.copy_(host) if from_host else host.copy_(device)
    return rate(copy, 2, 3) * 256 / 1024


@timed
def copy_to_device_gib():
    return bandwidth(True)


@timed
def copy_from_device_gib():
    return bandwidth(False)


@timed
def launches():
    x = torch.zeros(1, device="cuda")

    def many():
        for _ in range(1000):
            x.add_(1)
    return 1000 * rate(many, 2, 3)


def main():
    kind, names = sys.argv[1], sys.argv[2:]
    # The same results in both runs.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "times"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    functions = {"checks": CHECKS, "times": TIMES}[kind]
    for name in names or functions:
        torch.manual_seed(7)
        start = time.perf_counter()
        try:
            line = {"name": name, "value": functions[name](), "seconds": time.perf_counter() - start}
        except Exception as error:  # The next one may succeed.
            line = {"name": name, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
