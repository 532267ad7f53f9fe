"""Each block is its formula."""

from __future__ import annotations

import torch

from pagoda.model.towers.blocks import CrossNetwork, SenetGate


def test_a_gate_begins_open_and_weighs_whole_inputs() -> None:
    gate, inputs = SenetGate([3, 1, 4], 2), torch.randn(5, 8)
    assert torch.equal(gate(inputs), inputs)
    torch.nn.init.normal_(gate.excite.weight)
    means = torch.stack([part.mean(1) for part in inputs.split([3, 1, 4], 1)], 1)
    weights = 2 * torch.sigmoid(gate.excite(torch.relu(gate.squeeze(means))))
    torch.testing.assert_close(gate(inputs), inputs * weights[:, [0, 0, 0, 1, 2, 2, 2, 2]])


def test_a_cross_network_is_equation_1_of_dcn_v2() -> None:
    network, start = CrossNetwork(4, 2), torch.randn(3, 4)
    crossed = start
    for layer in network.layers:
        crossed = start * (crossed @ layer.weight.T + layer.bias) + crossed
    torch.testing.assert_close(network(start), crossed)
