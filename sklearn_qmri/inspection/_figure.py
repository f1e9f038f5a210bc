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


def plain_log_axis(axis):
    """Make an axis logarithmic, with ticks at 1, 3, 10, 30, ... as plain numbers."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())
