"""Has templates."""
