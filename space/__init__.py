"""What a visitor sees: one module a tab, the theme, the example photos."""
