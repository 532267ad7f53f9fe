"""From raw values of features to the inputs of a tower."""
