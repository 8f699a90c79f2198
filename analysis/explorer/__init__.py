"""The explorer: one page for the browser, written from the zoo, that draws and plays schemes.

The page is a file without any request to another: the schemes' exact entries (:mod:`.scheme_data`), the equations that
they solve (:mod:`.solved_equation`), and the HTML, CSS and JavaScript of page/, put together by :mod:`.page`. The
JavaScript knows no scheme by name.
"""
