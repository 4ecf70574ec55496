"""Recipe, criteria and planner: choices become a plan; nothing here touches a model."""
