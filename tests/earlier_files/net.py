import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b, self.c = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 1),
            nn.Conv2d(8, 8, 1),
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.a(x)))
        x = x + torch.relu(self.b(x))
        return self.head(torch.relu(self.c(x)).mean((2, 3)))


def make():
    """The same weights on every machine: nothing is drawn."""
    net = Net().eval()
    with torch.no_grad():
        for number, tensor in enumerate([*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())]):
            count = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.copy_((torch.cos(count * 0.7 + number) * 0.4 + (1.0 if number > 9 else 0.0)).view(tensor.shape))
        net.norm.running_var.abs_().add_(0.5)
    return net
