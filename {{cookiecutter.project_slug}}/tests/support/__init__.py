"""What the tests share: a servicer that misbehaves, a server around it, and callers that keep to no rule."""
