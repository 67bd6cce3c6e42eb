"""Rock, paper, scissors at tables that are state machines."""
