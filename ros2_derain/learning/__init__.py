"""What makes weights: recipes, clips, losses, tasks, the trainer, export. Never imported by a node."""


class LearningError(Exception):
    """A recipe, a dataset or a run cannot be used; the message says what is wrong and what to do."""
