"""Each block is its formula."""

from __future__ import annotations

import torch

from pagoda.model.towers.blocks import CrossNetwork, SenetGate
from pagoda.model.towers.interactions import CompressedInteractionNetwork, FactorisationMachine, InputVectors


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


def test_inputs_become_vectors_of_one_length_each_by_a_matrix_of_its_own() -> None:
    project, inputs = InputVectors([3, 1, 4], 2), torch.randn(5, 8)
    parts = zip(project.projections, inputs.split([3, 1, 4], 1), strict=True)
    torch.testing.assert_close(project(inputs), torch.stack([part @ one.weight.T for one, part in parts], 1))


def test_a_factorisation_machine_is_the_sum_of_all_products_of_two() -> None:
    vectors = torch.randn(3, 4, 2)
    expected = sum(vectors[:, one] * vectors[:, other] for other in range(4) for one in range(other))
    torch.testing.assert_close(FactorisationMachine()(vectors), expected)


def test_a_compressed_interaction_network_is_equation_6_of_xdeepfm() -> None:
    network, start = CompressedInteractionNetwork(3, (4, 2)), torch.randn(5, 3, 6)
    before, pooled = start, []
    for layer, maps in zip(network.layers, (4, 2), strict=True):
        weights, after = layer.weight.view(maps, before.shape[1], 3), torch.zeros(5, maps, 6)
        for into in range(maps):
            for one in range(before.shape[1]):
                for other in range(3):
                    after[:, into] += weights[into, one, other] * before[:, one] * start[:, other]
        before = after
        pooled.append(after.sum(2))
    torch.testing.assert_close(network(start), torch.cat(pooled, 1))
