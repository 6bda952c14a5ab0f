// sigbus.h: a mapped file that shrinks is not a crash but a failure with a sentence.
#ifndef CLI_SIGBUS_H
#define CLI_SIGBUS_H

// From here on, touching a page that its file no longer has (or that the disk cannot give) ends the
// program with exit code 1 and a line on stderr that names the file.
void sigbus_catch(void);

#endif
