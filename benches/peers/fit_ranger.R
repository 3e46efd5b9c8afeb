# One fit by ranger, timed: fit_ranger.R FOLDER N_TRAIN N_TEST TREES MTRY MAX_DEPTH classes|numbers best|random. Prints JSON; writes FOLDER/answers.
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
target <- readBin(file.path(folder, "y"), "double", n = sizes[1])
if (arguments[7] == "classes") target <- factor(target)
# Extremely randomised trees have all rows and one cut of each feature.
extra <- arguments[8] == "random"
rule <- if (extra) "extratrees" else if (arguments[7] == "classes") "gini" else "variance"
start <- proc.time()
forest <- ranger(
  x = train, y = target, num.trees = sizes[3], mtry = sizes[4], min.node.size = 1, max.depth = sizes[5],
  splitrule = rule, replace = !extra, sample.fraction = 1, num.threads = 1, seed = 42, oob.error = FALSE, verbose = FALSE
)
spent <- proc.time() - start
said <- predict(forest, data = read("X_test", sizes[2]), num.threads = 1)$predictions
writeBin(as.double(as.character(said)), file.path(folder, "answers"))
cat(sprintf('{"version": "%s", "seconds": %f}', packageVersion("ranger"), spent[["user.self"]] + spent[["sys.self"]]))
