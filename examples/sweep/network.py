"""A small network: two inputs, one layer of hidden neurons, one answer between 0 and 1. All of it is lists of numbers."""

import math


def fresh(hidden, chance):
    """Returns a network that knows nothing; each neuron has a weight for x, one for y, and a bias."""
    return {
        "hidden": [[chance.uniform(-1, 1) for _ in range(3)] for _ in range(hidden)],
        "answer": [chance.uniform(-1, 1) for _ in range(hidden + 1)],
    }


def hidden_values(network, x, y):
    return [math.tanh(a * x + b * y + c) for a, b, c in network["hidden"]]


def answer(network, values):
    *weights, bias = network["answer"]
    total = sum(weight * value for weight, value in zip(weights, values)) + bias
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, total))))


def predict(network, x, y):
    return answer(network, hidden_values(network, x, y))


def learn(network, x, y, inside, rate):
    """Moves every weight a little down the slope of the error at one point."""
    values = hidden_values(network, x, y)
    error = answer(network, values) - inside
    for neuron, value, weight in zip(network["hidden"], values, network["answer"]):
        slope = error * weight * (1 - value * value)
        for at, source in enumerate((x, y, 1.0)):
            neuron[at] -= rate * slope * source
    for at, value in enumerate([*values, 1.0]):
        network["answer"][at] -= rate * error * value
