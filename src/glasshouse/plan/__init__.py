"""From a budget to a recipe, with its predicted loss, time, memory, money and energy."""
