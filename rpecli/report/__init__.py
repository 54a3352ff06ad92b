"""The report of runs: from run directories to tables, figures and pages."""
