"""What all displays share."""


def import_matplotlib():
    """The pyplot module; ImportError with the command that installs it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Figures need matplotlib: pip install 'sklearn-qmri[plot]'.") from error
    return plt


def label(parameter):
    """Name and unit of a parameter, for an axis."""
    return f"{parameter.name} ({parameter.unit})" if parameter.unit else parameter.name


def legend(figure, ax, own):
    """Legend of what is in ax: below all panels of a figure of our own, else in ax."""
    handles, names = ax.get_legend_handles_labels()
    if own:
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    else:
        ax.legend(frameon=False)
