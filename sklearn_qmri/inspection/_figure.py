"""Functions that all displays share."""


def import_matplotlib():
    """Import pyplot, or raise an ImportError with the command that installs matplotlib."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Figures need matplotlib: pip install 'sklearn-qmri[plot]'.") from error
    return plt


def label(parameter):
    """Name and unit of a parameter, for an axis."""
    return f"{parameter.name} ({parameter.unit})" if parameter.unit else parameter.name


def legend(figure, ax, own):
    """Draw the legend of ax: below all panels if the figure is the display's own, else in ax."""
    handles, names = ax.get_legend_handles_labels()
    if own:
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    else:
        ax.legend(frameon=False)
