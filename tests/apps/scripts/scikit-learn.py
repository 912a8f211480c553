"""Fit and predict on a data set that comes in the wheel, with joblib's workers too."""
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x, y = load_iris(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
print(model.predict(x[::30]).tolist(), round(model.score(x, y), 3))
print(cross_val_score(RandomForestClassifier(10, random_state=0), x, y, cv=3, n_jobs=2).round(3).tolist())
