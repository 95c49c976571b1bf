"""How the model that ships in the package is made: vocabulary, data, network, training, evaluation, card."""
