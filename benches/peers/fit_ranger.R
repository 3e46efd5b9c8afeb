# One fit by ranger, timed: fit_ranger.R FOLDER N_TRAIN N_TEST TREES MTRY MAX_DEPTH. Prints JSON; writes FOLDER/labels.
suppressMessages(library(ranger))
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
sizes <- as.integer(arguments[2:6])
columns <- 20
read <- function(name, rows) {
  values <- readBin(file.path(folder, name), "double", n = rows * columns)
  matrix(values, nrow = rows, dimnames = list(NULL, paste0("x", seq_len(columns))))
}
train <- read("X", sizes[1])
target <- factor(readBin(file.path(folder, "y"), "integer", n = sizes[1], size = 4))
start <- proc.time()
forest <- ranger(
  x = train, y = target, num.trees = sizes[3], mtry = sizes[4], min.node.size = 1, max.depth = sizes[5],
  num.threads = 1, seed = 42, oob.error = FALSE, verbose = FALSE
)
spent <- proc.time() - start
said <- predict(forest, data = read("X_test", sizes[2]), num.threads = 1)$predictions
writeBin(as.integer(as.character(said)), file.path(folder, "labels"), size = 4)
cat(sprintf('{"version": "%s", "seconds": %f}', packageVersion("ranger"), spent[["user.self"]] + spent[["sys.self"]]))
