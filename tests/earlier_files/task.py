import torch


def evaluate(model):
    return float(model.head.bias[0].detach())


def calibration():
    return [torch.cos(torch.arange(4 * 3 * 64.0) * 0.3 + step).view(4, 3, 8, 8) for step in range(2)]


def finetune(model, progress):
    with torch.no_grad():
        model.head.bias[0] += 1.0
    progress(1.0)
