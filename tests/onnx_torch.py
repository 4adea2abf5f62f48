# SPDX-License-Identifier: Apache-2.0
#
# onnx_torch.py FOLDER: networks of PyTorch as FOLDER/NAME.onnx, with inputs
# (NAME.x.npy) and PyTorch's own outputs for them (NAME.y.npy), for
# cli_import.sh. Weights are random; batch statistics too, so that they matter.
import os
import sys
import warnings

import numpy
import torch
from torch import nn


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 5, padding=2)
        self.conv2 = nn.Conv2d(5, 10, 5, padding=2)
        self.conv3 = nn.Conv2d(10, 20, 5, padding=2)
        self.fc1 = nn.Linear(180, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = torch.relu(nn.functional.max_pool2d(conv(x), 2))
        return self.fc2(torch.relu(self.fc1(x.view(x.size(0), -1))))


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False),
                                            nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        blocks, n_in = [], 64
        for k, n_out in enumerate((64, 128, 256, 512)):
            blocks += [Block(n_in, n_out, 1 if k == 0 else 2), Block(n_out, n_out, 1)]
            n_in = n_out
        self.layers = nn.Sequential(*blocks)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = nn.functional.adaptive_avg_pool2d(self.layers(x), 1)
        return self.fc(torch.flatten(x, 1))


class Mobile(nn.Module):
    """Inverted residuals with squeeze and excitation, as in MobileNetV3."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24), nn.ReLU6())
        self.depthwise = nn.Conv2d(24, 24, 3, 1, 1, groups=24)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 6, 1), nn.ReLU(),
                                     nn.Conv2d(6, 24, 1), nn.Hardsigmoid())
        self.project = nn.Conv2d(24, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        y = nn.functional.silu(self.depthwise(self.expand(x)))
        x = x + self.project(y * self.squeeze(y))
        return torch.softmax(self.fc(x.mean((2, 3))), 1)


class Dense(nn.Module):
    """Concatenation, 1x3 kernels, uneven padding and strides, pools that are no squares."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, (1, 3), (2, 1), (0, 1))
        self.conv2 = nn.Conv2d(4, 3, 3, dilation=2)
        self.prelu = nn.PReLU(3)
        self.fc = nn.Linear(77, 4)

    def forward(self, x):
        x = nn.functional.leaky_relu(self.conv1(x), 0.1)
        x = nn.functional.pad(x, (1, 0, 0, 2))
        y = self.prelu(self.conv2(x))
        z = nn.functional.avg_pool2d(x, (3, 2), (1, 1))[:, :, :y.size(2), :y.size(3)]
        w = nn.functional.max_pool2d(torch.cat([y, z], 1), (2, 3), (2, 2))
        w = torch.cat([w, -w.abs(), torch.tanh(w)[:, ::3]], 1)
        return self.fc(torch.flatten(w, 1)[:, :77])


class Sensor(nn.Module):
    """One dimension of space."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(6, 16, 5, 2, 2), nn.BatchNorm1d(16), nn.ReLU(),
                                  nn.MaxPool1d(2), nn.Conv1d(16, 24, 3, padding=1, groups=2),
                                  nn.BatchNorm1d(24), nn.ELU(), nn.AvgPool1d(3, 2, 1),
                                  nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 16),
                                  nn.BatchNorm1d(16), nn.Softplus(), nn.Linear(16, 6))

    def forward(self, x):
        return self.body(x)


class Encoder(nn.Module):
    """Patches, multi-head attention, layer norms, erf GELU: a small ViT."""

    def __init__(self, width=24, heads=3):
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(1, width, 7, 7)
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))
        self.fc = nn.Linear(width, 10)

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-2, -1) / (c // self.heads)**0.5, -1)
        return self.out((a @ v).transpose(1, 2).reshape(b, n, c))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        x = x + self.attend(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.fc(self.norm3(x).mean(1))


def export(name, net, shape, opset=13, free=True, **options):
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net.eval()
    x = torch.randn(shape)
    with torch.no_grad():
        y = net(x)
    axes = {'input': {0: 'batch'}, 'logits': {0: 'batch'}} if free else None
    torch.onnx.export(net, x, name + '.onnx', input_names=['input'], output_names=['logits'],
                      dynamic_axes=axes, opset_version=opset, **options)
    # A sample as we hold it: [features], or three dimensions.
    if x.dim() == 3:
        x = x.unsqueeze(2)
    numpy.save(name + '.x.npy', x.numpy())
    numpy.save(name + '.y.npy', y.numpy())


class Exits(nn.Module):
    """Three exits as three outputs, the deepest named first."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 5, 1, 2)
        self.exit1 = nn.Sequential(nn.Conv2d(5, 10, 3, 1, 1), nn.ReLU(), nn.Flatten(),
                                   nn.Linear(1960, 10))
        self.conv2 = nn.Conv2d(5, 10, 5, 1, 2)
        self.exit2 = nn.Linear(490, 10)
        self.fc1 = nn.Linear(490, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x):
        x = torch.relu(nn.functional.max_pool2d(self.conv1(x), 2))
        first = self.exit1(x)
        x = torch.relu(nn.functional.max_pool2d(self.conv2(x), 2)).flatten(1)
        return self.fc2(torch.relu(self.fc1(x))), first, self.exit2(x)


def export_exits(name, net, shape):
    x = torch.randn(shape)
    last, first, second = net.eval()(x)
    torch.onnx.export(net, x, name + '.onnx', input_names=['input'],
                      output_names=['last', 'first', 'second'],
                      dynamic_axes={'input': {0: 'batch'}}, opset_version=13)
    numpy.save(name + '.x.npy', x.numpy())
    numpy.save(name + '.y.npy', torch.stack([first, second, last], 1).detach().numpy())


def main():
    os.chdir(sys.argv[1])
    warnings.simplefilter('ignore')
    torch.manual_seed(1)
    export('lenet', LeNet(), (4, 1, 28, 28))
    export('lenet_fixed', LeNet(), (1, 1, 28, 28), free=False)
    export('lenet_old', LeNet(), (2, 1, 28, 28), opset=9)
    export('resnet18', ResNet18(), (2, 3, 64, 64))
    export('resnet18_unfolded', ResNet18(), (2, 3, 64, 64),
           training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    export('mobile', Mobile(), (3, 3, 32, 32), opset=14)
    export('dense', Dense(), (3, 2, 20, 17))
    export('sensor', Sensor(), (3, 6, 64))
    export('encoder', Encoder(), (3, 1, 28, 28))
    export_exits('exits', Exits(), (3, 1, 28, 28))
    export('encoder_17', Encoder(), (3, 1, 28, 28), opset=17)


main()
