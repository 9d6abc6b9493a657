"""The level where calls wait: runners, legs, dialling, tools, plugins, configuration."""
