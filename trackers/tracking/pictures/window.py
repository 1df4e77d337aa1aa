"""A window on the screen: frames shown as they come, and boxes drawn with the mouse.

By tkinter, of Python's standard library: the OpenCV that we need (its headless build) has no windows.
"""

from trackers.errors import InputError

_TITLE_HINT = "drag a box around each target; Return: track, Backspace: undo, Escape: leave"
_SMALLEST_SIDE = 3  # pixels of the frame: less is a click
_COLOR = "#ffc400"


class Window:
    """A window; frames larger than most of the screen are shown smaller.

    Args: title: of the window.

    Raises: InputError where there is no screen, or no tkinter.
    """

    def __init__(self, title):
        try:
            import tkinter
        except ImportError:
            raise InputError("a window needs tkinter: install python3-tk, or leave the window out") from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise InputError(f"there is no screen for a window ({error}): leave the window out") from None
        self._title, self.closed = title, False
        self._root.title(title)
        self._canvas = tkinter.Canvas(self._root, highlightthickness=0)
        self._canvas.pack()
        self._picture = self._canvas.create_image(0, 0, anchor="nw")
        self._shown, self._scale = None, 1.0
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, self._close)

    def _close(self, event=None):
        self.closed = True

    def show(self, frame):
        """Shows a frame (H, W, 3) uint8 RGB; `closed` then says whether the user has closed the window, or hit Escape
        or q."""
        from PIL import Image, ImageTk

        height, width = frame.shape[:2]
        room = 0.9 * self._root.winfo_screenwidth(), 0.85 * self._root.winfo_screenheight()
        self._scale = min(1.0, room[0] / width, room[1] / height)
        size = max(1, round(width * self._scale)), max(1, round(height * self._scale))
        image = Image.fromarray(frame)
        # Tk keeps no reference of its own.
        self._shown = ImageTk.PhotoImage(image if size == image.size else image.resize(size))
        self._canvas.config(width=size[0], height=size[1])
        self._canvas.itemconfig(self._picture, image=self._shown)
        self._root.update()

    def ask_boxes(self, frame):
        """Lets the user draw boxes on a frame (H, W, 3) uint8 RGB.

        Returns: [(x, y, w, h)] in pixels of the frame, in the order drawn; empty where the user leaves.
        """
        self.show(frame)
        drawing = _Drawing(self._canvas)
        done = []
        self._root.title(f"{self._title}: {_TITLE_HINT}")
        keys = {"<Return>": done.append, "<KP_Enter>": done.append, "<BackSpace>": drawing.undo}
        for key, action in keys.items():
            self._root.bind(key, action)
        self._root.focus_force()
        while not self.closed and not (done and drawing.rectangles):
            done.clear()
            self._root.update()
            self._root.after(10)
        corners = [[value / self._scale for value in self._canvas.coords(item)] for item in drawing.rectangles]
        drawing.stop()
        for key in keys:
            self._root.unbind(key)
        self._root.title(self._title)
        height, width = frame.shape[:2]
        return [] if self.closed else [_inside(*each, height, width) for each in corners]

    def destroy(self):
        """Takes the window off the screen."""
        self._root.destroy()


class _Drawing:
    """Rectangles drawn by dragging the mouse over a canvas; `rectangles`: those of more than a click."""

    def __init__(self, canvas):
        self._canvas, self.rectangles, self._current = canvas, [], None
        canvas.config(cursor="crosshair")
        self._events = {"<Button-1>": self._press, "<B1-Motion>": self._drag, "<ButtonRelease-1>": self._release}
        for name, action in self._events.items():
            canvas.bind(name, action)

    def _press(self, event):
        self._origin = event.x, event.y
        self._current = self._canvas.create_rectangle(*self._origin, *self._origin, outline=_COLOR, width=2)

    def _drag(self, event):
        if self._current is not None:
            self._canvas.coords(self._current, *self._origin, event.x, event.y)

    def _release(self, event):
        if self._current is None:
            return
        self._drag(event)
        left, top, right, bottom = self._canvas.coords(self._current)
        if min(right - left, bottom - top) >= _SMALLEST_SIDE:
            self.rectangles.append(self._current)
        else:
            self._canvas.delete(self._current)
        self._current = None

    def undo(self, event=None):
        if self.rectangles:
            self._canvas.delete(self.rectangles.pop())

    def stop(self):
        for name in self._events:
            self._canvas.unbind(name)
        for item in self.rectangles:
            self._canvas.delete(item)
        self._canvas.config(cursor="")


def _inside(left, top, right, bottom, height, width):
    """x, y, w, h of a rectangle, cut to the frame that it began in."""
    left, right = max(0.0, left), min(float(width), right)
    top, bottom = max(0.0, top), min(float(height), bottom)
    return left, top, right - left, bottom - top
